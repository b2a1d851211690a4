#include "sophia/io/chat_template.h"

#include "sophia/base/error.h"
#include "sophia/io/jinja/eval.h"

namespace sophia::io {
namespace {

std::tm LocalTime() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return local;
}

jinja::Dict Variables(const std::map<std::string, std::string>& special_tokens,
                      const Json& messages, const RenderOptions& options) {
  jinja::Dict variables;
  for (const auto& [key, value] : special_tokens) variables.Set(key, value);
  variables.Set("messages", jinja::FromJson(messages));
  variables.Set("tools", jinja::FromJson(options.tools));
  variables.Set("documents", jinja::FromJson(options.documents));
  variables.Set("add_generation_prompt", options.add_generation_prompt);
  if (options.extra.is_object()) {
    for (const auto& [key, value] : options.extra.items()) {
      variables.Set(key, jinja::FromJson(value));
    }
  }
  return variables;
}

}  // namespace

ChatTemplate::ChatTemplate(std::string_view source,
                           std::map<std::string, std::string> special_tokens, std::string name)
    : name_(std::move(name)),
      special_tokens_(std::move(special_tokens)),
      parsed_(std::make_shared<const jinja::Template>(jinja::Parse(source, name_))) {}

RenderedChat ChatTemplate::RenderMarked(const Json& messages, const RenderOptions& options) const {
  jinja::Dict variables;
  try {
    variables = Variables(special_tokens_, messages, options);
  } catch (const jinja::Fault& fault) {
    throw Error(name_, fault.what());
  }
  jinja::Rendering rendering =
      jinja::Render(*parsed_, name_, variables, options.now.value_or(LocalTime()), {});
  return {std::move(rendering.text), std::move(rendering.generations)};
}

std::string ChatTemplate::Render(const Json& messages, const RenderOptions& options) const {
  return RenderMarked(messages, options).text;
}

bool ChatTemplate::marks_generations() const { return parsed_->has_generation; }

}  // namespace sophia::io
