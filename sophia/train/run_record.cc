#include "sophia/train/run_record.h"

#include <fmt/chrono.h>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/train/prove.h"

namespace sophia::train {
namespace {

constexpr std::string_view kRunFile = "run.json";
constexpr std::array<std::string_view, 3> kEndNames = {"finished", "stopped", "failed"};

std::string Now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

int64_t Parameters(const TrainingRun& run, bool trainable) {
  int64_t count = 0;
  for (const nn::ParamSpec& spec : run.specs()) {
    if (spec.trainable == trainable) count += spec.parameters();
  }
  return count;
}

Json Describe(const TrainingRun& run) {
  const pjrt::CompiledMemoryStats memory = run.program().executable().executable().MemoryStats();
  return {{"state", "running"},
          {"reason", nullptr},
          {"started_at", Now()},
          {"ended_at", nullptr},
          {"first_step", run.done() + 1},
          {"total_steps", run.total_steps()},
          {"model",
           {{"path", run.options().model.string()},
            {"frozen_parameters", Parameters(run, false)},
            {"trained_parameters", Parameters(run, true)}}},
          {"data", run.data().summary},
          {"device",
           {{"platform", run.device().client().platform_name()},
            {"kind", run.device().Description().kind}}},
          {"step",
           {{"sequences", run.shape().accumulation * run.shape().batch},
            {"sequence_tokens", run.shape().seq},
            {"flops", run.flops_per_step()},
            {"argument_bytes", memory.argument},
            {"temporary_bytes", memory.temp}}},
          {"base_weights", nullptr}};
}

}  // namespace

RunRecord::RunRecord(const TrainingRun& run, const OutputOptions& output, const Json& plan,
                     const WarningSink& warn)
    : run_(run), folder_(output.folder), warn_(warn), json_(Describe(run)) {
  if (output.verify_base) {
    base_before_ = BaseHashes(run.specs(), run.parameters());
    json_["base_weights"] = {
        {"tensors", std::ranges::count(run.specs(), false, &nn::ParamSpec::trainable)},
        {"sha256_before", Digest(base_before_)},
        {"sha256_after", nullptr},
        {"moved", nullptr}};
  }
  if (!plan.is_null()) Write("plan.json", plan);
  Write(kTrainingArgsFile, TrainingArgs(run, output));
  Write(kRunFile, json_);
}

void RunRecord::CheckBase() {
  if (base_before_.empty()) return;
  const std::vector<std::string> after = BaseHashes(run_.specs(), run_.parameters());
  const std::vector<std::string> moved = CompareBase(run_.specs(), base_before_, after);
  json_["base_weights"]["sha256_after"] = Digest(after);
  json_["base_weights"]["moved"] = moved;
  if (!moved.empty()) {
    Fail("base weights", "expected all as they were loaded, got {}", MovedNames(moved));
  }
}

void RunRecord::End(RunEnd end, std::string_view reason) {
  json_["state"] = kEndNames[static_cast<size_t>(end)];
  if (!reason.empty()) json_["reason"] = reason;
  json_["ended_at"] = Now();
  Write(kRunFile, json_);
}

void RunRecord::Write(std::string_view name, const Json& json) const {
  try {
    WriteFile(folder_ / name, Dump(json, 2) + "\n");
  } catch (const Error& error) {
    warn_(fmt::format("{}; the run goes on without it", error.what()));
  }
}

}  // namespace sophia::train
