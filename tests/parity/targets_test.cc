// Which layers get an adapter, against peft: tests/fixtures/sft/targets.json.
#include <gtest/gtest.h>

#include <algorithm>

#include "sophia/base/file.h"
#include "sophia/base/json.h"
#include "sophia/train/setup.h"

namespace sophia::train {
namespace {

const std::filesystem::path kFixtures = SOPHIA_SOURCE_DIR "/tests/fixtures";

std::vector<std::string> AdaptedModules(const lora::Targets& targets) {
  constexpr std::string_view kSuffix = ".lora_A.weight";
  const auto files = models::ModelFiles::Open(kFixtures / "llama" / "gqa");
  const auto plan = BuildModel({.lora = {.targets = targets}}, files);
  std::vector<std::string> modules;
  for (const nn::ParamSpec& spec : plan->specs()) {
    if (!spec.path.ends_with(kSuffix)) continue;
    for (const int64_t layer : spec.PresentLayers()) {
      const std::string path = spec.PathOf(layer);
      modules.push_back(path.substr(0, path.size() - kSuffix.size()));
    }
  }
  std::sort(modules.begin(), modules.end());
  return modules;
}

TEST(TargetsTest, ThoseOfPeftGetAnAdapter) {
  const Json cases = ReadJson(kFixtures / "sft" / "targets.json");
  for (const Json& one : cases) {
    SCOPED_TRACE(Dump(one[0]));
    const lora::Targets targets = one[0].is_string()
                                      ? lora::Targets(one[0].get<std::string>())
                                      : lora::Targets(one[0].get<std::vector<std::string>>());
    EXPECT_EQ(AdaptedModules(targets), one[1].get<std::vector<std::string>>());
  }
}

}  // namespace
}  // namespace sophia::train
