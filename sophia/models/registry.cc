#include "sophia/models/registry.h"

#include <array>

#include "sophia/base/error.h"
#include "sophia/models/llama.h"

namespace sophia::models {
namespace {

using Builder = std::unique_ptr<CausalLm> (*)(const nn::ParamScope&, const Json&,
                                              std::string_view where);

struct Family {
  std::string_view model_type;
  std::string_view architecture;
  Builder build;
};

constexpr std::array<Family, 1> kFamilies = {{
    {"llama", "LlamaForCausalLM",
     [](const nn::ParamScope& scope, const Json& config,
        std::string_view where) -> std::unique_ptr<CausalLm> {
       return std::make_unique<Llama>(scope, LlamaConfig::FromJson(config, where));
     }},
}};

std::string KnownFamilies() {
  std::string names;
  for (const Family& family : kFamilies) {
    names +=
        fmt::format("{}{} ({})", names.empty() ? "" : ", ", family.architecture, family.model_type);
  }
  return names;
}

}  // namespace

std::unique_ptr<CausalLm> BuildModel(const nn::ParamScope& scope, const Json& config,
                                     std::string_view where) {
  const auto type = Require<std::string>(config, "model_type", where);
  const auto architectures = FindOr<std::vector<std::string>>(config, "architectures", {}, where);
  for (const Family& family : kFamilies) {
    if (family.model_type != type) continue;
    if (!architectures.empty() && architectures[0] != family.architecture) {
      Fail(where, "expected the architecture {}, got {}", family.architecture, architectures[0]);
    }
    return family.build(scope, config, where);
  }
  Fail(where, "expected an architecture of {}, got '{}'", KnownFamilies(),
       architectures.empty() ? type : architectures[0]);
}

}  // namespace sophia::models
