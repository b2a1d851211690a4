#include <fmt/format.h>

#include "sophia/cli/commands.h"
#include "sophia/cli/train_options.h"
#include "sophia/plan/report.h"

namespace sophia::cli {

int RunPlan(const Values& values) {
  std::optional<std::filesystem::path> plugin;
  if (values.Has("plugin")) plugin = values.NeedText("plugin");
  const plan::Plan plan =
      plan::MakePlan({.options = TrainOptionsFrom(values),
                      .target = plan::FindTarget(values.Text("topology"), plugin),
                      .confirm = values.Flag("confirm")});
  fmt::print("{}", values.Flag("json") ? Dump(plan::ToJson(plan), 2) + "\n" : plan::ToText(plan));
  return plan.fits ? 0 : 1;
}

}  // namespace sophia::cli
