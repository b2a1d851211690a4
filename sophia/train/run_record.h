#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sophia/train/checkpoint_saver.h"

namespace sophia::train {

enum class RunEnd : uint8_t { kFinished, kStopped, kFailed };

// What a run is and how it ended, for `sophia report`, in its output folder:
//   training_args.json  the options, which `train --config` reads
//   plan.json           `plan`, if it is not null
//   run.json            state ("running", "finished", "stopped" or "failed"), times, model, data,
//                       device, the step's operations and memory, and the base weights' SHA-256
//                       before and after
// What cannot be written is a warning.
class RunRecord {
 public:
  // Before the first step. `run` must live longer.
  RunRecord(const TrainingRun& run, const OutputOptions& output, const Json& plan,
            const WarningSink& warn);

  // After the last step, unless the options say otherwise. Throws Error when a base weight moved.
  void CheckBase();
  void End(RunEnd end, std::string_view reason = "");

 private:
  void Write(std::string_view name, const Json& json) const;

  const TrainingRun& run_;
  std::filesystem::path folder_;
  WarningSink warn_;
  std::vector<std::string> base_before_;  // empty: not wanted
  Json json_;
};

}  // namespace sophia::train
