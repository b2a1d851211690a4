#pragma once

#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sophia/base/json.h"

namespace sophia::io {

namespace jinja {
struct Template;
}

struct RenderOptions {
  Json tools;      // JSON schemas of functions, or null
  Json documents;  // for retrieval, or null
  bool add_generation_prompt = false;
  Json extra;                  // an object of further variables, or null
  std::optional<std::tm> now;  // local time for strftime_now; the system's clock when absent
};

struct RenderedChat {
  std::string text;
  // Byte ranges [begin, end) that the template marks as written by the assistant, if it does.
  std::vector<std::pair<size_t, size_t>> generations;
};

// A Jinja chat template as published with a model. Renders what transformers' apply_chat_template
// renders: jinja2's immutable sandbox with trimmed blocks and loop controls.
class ChatTemplate {
 public:
  // `special_tokens` are variables such as bos_token. Throws Error naming `name` and the line.
  explicit ChatTemplate(std::string_view source,
                        std::map<std::string, std::string> special_tokens = {},
                        std::string name = "chat template");

  // Throws Error naming the template's line when it raises, fails or does not end.
  std::string Render(const Json& messages, const RenderOptions& options = {}) const;
  RenderedChat RenderMarked(const Json& messages, const RenderOptions& options = {}) const;

  // Whether the template has {% generation %} tags.
  bool marks_generations() const;

 private:
  std::string name_;
  std::map<std::string, std::string> special_tokens_;
  std::shared_ptr<const jinja::Template> parsed_;
};

}  // namespace sophia::io
