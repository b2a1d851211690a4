#include <fmt/format.h>

#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/cli/commands.h"
#include "sophia/kernels/registry.h"

namespace sophia::cli {
namespace {

using kernels::KernelFacts;
using pallas::Chip;

std::string Times(const Dims& dims) {
  std::string text;
  for (const int64_t size : dims) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text.empty() ? "1" : text;
}

// Each block shape once.
std::string BlockList(const KernelFacts& facts) {
  std::vector<std::string> shapes;
  for (const Dims& block : facts.blocks) {
    const std::string shape = Times(block);
    if (std::ranges::find(shapes, shape) == shapes.end()) shapes.push_back(shape);
  }
  return Join(shapes, " ");
}

// 2.75e11 -> "275 G".
std::string Prefixed(double value) {
  constexpr std::string_view kPrefixes = " kMGTP";
  size_t i = 0;
  while (value >= 1000 && i + 1 < kPrefixes.size()) {
    value /= 1000;
    ++i;
  }
  return fmt::format("{:.3g} {}", value, i == 0 ? "" : kPrefixes.substr(i, 1));
}

Json ToJson(const KernelFacts& facts) {
  return {{"name", facts.name},
          {"shape", facts.shape},
          {"chip", Info(facts.chip).name},
          {"grid", facts.grid},
          {"blocks", facts.blocks},
          {"vmem_bytes", facts.vmem_bytes},
          {"vmem_limit", facts.vmem_limit},
          {"flops", facts.flops},
          {"hbm_bytes", facts.hbm_bytes},
          {"flops_per_byte", facts.intensity()},
          {"roofline_seconds", facts.roofline()},
          {"bound", facts.compute_bound() ? "compute" : "memory"}};
}

// A line for each chip under each kernel.
void PrintTable(const std::vector<KernelFacts>& all) {
  std::vector<std::string> printed;
  for (const KernelFacts& kernel : all) {
    if (std::ranges::find(printed, kernel.name) != printed.end()) continue;
    printed.push_back(kernel.name);
    fmt::print("{}{}: {}\n", printed.size() > 1 ? "\n" : "", kernel.name, kernel.shape);
    fmt::print("  {:<6} {:<14} {:<22} {:>9} {:>9} {:>7} {:>7} {:>7} {:>9}  {}\n", "chip", "grid",
               "blocks", "VMEM", "of", "FLOP", "HBM B", "FLOP/B", "roofline", "bound");
    for (const KernelFacts& facts : all) {
      if (facts.name != kernel.name) continue;
      fmt::print("  {:<6} {:<14} {:<22} {:>9} {:>9} {:>7} {:>7} {:>7.0f} {:>6.0f} us  {}\n",
                 Info(facts.chip).name, Times(facts.grid), BlockList(facts),
                 HumanBytes(facts.vmem_bytes), HumanBytes(facts.vmem_limit), Prefixed(facts.flops),
                 Prefixed(facts.hbm_bytes), facts.intensity(), facts.roofline() * 1e6,
                 facts.compute_bound() ? "compute" : "memory");
    }
  }
}

int Dump(const std::string& name, Chip chip) {
  const std::optional<std::string> text = kernels::KernelText(name, chip);
  if (!text) {
    std::vector<std::string> names;
    for (const KernelFacts& facts : kernels::DescribeKernels(chip)) names.push_back(facts.name);
    throw UsageError(fmt::format("--dump: expected a kernel of TPU {} ({}), got '{}'{}",
                                 Info(chip).name, Join(names, ", "), name,
                                 DidYouMean(name, names)));
  }
  fmt::print("{}", *text);
  return 0;
}

}  // namespace

int RunKernels(const Values& values) {
  std::optional<Chip> chip;
  if (values.Has("chip")) chip = pallas::ChipFromName(values.NeedText("chip"));
  if (values.Has("dump") && values.Flag("json")) {
    throw UsageError("expected --dump or --json, got both");
  }
  if (values.Has("dump")) return Dump(values.NeedText("dump"), chip.value_or(Chip::kV5e));
  std::vector<KernelFacts> all;
  for (const pallas::ChipInfo& info : pallas::AllChips()) {
    if (chip && *chip != info.chip) continue;
    std::ranges::move(kernels::DescribeKernels(info.chip), std::back_inserter(all));
  }
  if (!values.Flag("json")) {
    PrintTable(all);
    return 0;
  }
  Json list = Json::array();
  for (const KernelFacts& facts : all) list.push_back(ToJson(facts));
  fmt::print("{}\n", sophia::Dump(list, 2));
  return 0;
}

}  // namespace sophia::cli
