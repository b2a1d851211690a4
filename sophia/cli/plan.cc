#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "sophia/cli/commands.h"
#include "sophia/cli/train_options.h"
#include "sophia/plan/report.h"

namespace sophia::cli {
namespace {

// For who waits; a program that reads the plan is told nothing.
void SayThatItSearches() {
  if (isatty(STDERR_FILENO) == 0) return;
  fmt::print(stderr, "plan: looking for the longest context that fits, which can take minutes\n");
}

}  // namespace

int RunPlan(const Values& values) {
  std::optional<std::filesystem::path> plugin;
  if (values.Has("plugin")) plugin = values.NeedText("plugin");
  std::optional<int64_t> host;
  if (values.Has("host_memory")) host = static_cast<int64_t>(values.Number("host_memory") * 1e9);
  std::optional<CompileCache> save;
  if (values.Has("save")) {
    if (!values.Flag("confirm")) throw UsageError("expected --save or --no-confirm, got both");
    save = CompileCache(values.NeedText("save"));
    MakeWritableFolder(save->folder());
  }
  const plan::PlanRequest request{.options = TrainOptionsFrom(values),
                                  .target = plan::FindTarget(values.Text("topology"), plugin),
                                  .confirm = values.Flag("confirm"),
                                  .find_length = values.IsAuto("max_length"),
                                  .host_limit = host,
                                  .on_search = SayThatItSearches,
                                  .save = save};
  const bool compare = values.Flag("compare");
  if (compare && values.Has("policy")) {
    throw UsageError("expected --policy or --compare, got both");
  }
  const std::vector<plan::Plan> plans =
      compare ? plan::ComparePolicies(request) : std::vector{plan::MakePlan(request)};
  if (values.Flag("json")) {
    Json list = Json::array();
    for (const plan::Plan& one : plans) list.push_back(plan::ToJson(one));
    fmt::print("{}\n", Dump(compare ? list : list[0], 2));
  } else {
    fmt::print("{}", compare ? plan::ToTable(plans) : plan::ToText(plans[0]));
    if (save && std::ranges::any_of(plans, &plan::Plan::confirmed)) {
      fmt::print("compiled step     for SOPHIA_CACHE_DIR={} sophia train …\n",
                 save->folder().string());
    }
  }
  return std::ranges::any_of(plans, &plan::Plan::fits) ? 0 : 1;
}

}  // namespace sophia::cli
