#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/base/json.h"
#include "sophia/nn/param.h"
#include "sophia/optim/transform.h"
#include "sophia/pjrt/buffer.h"
#include "sophia/train/batches.h"
#include "sophia/train/best_model.h"

namespace sophia::train {

// A checkpoint is the folder checkpoint-N of an output folder, made after N updates:
//   adapter_config.json, adapter_model.safetensors  in PEFT's format
//   optimizer.safetensors                           the optimiser's state by the names of its slots
//   trainer_state.json                              as transformers' Trainer writes it
//   training_args.json                              the options, which `train --config` reads
//   run_state.json                                  position, seed, and SHA-256 of the other files
inline constexpr std::string_view kOptimizerFile = "optimizer.safetensors";
inline constexpr std::string_view kTrainerStateFile = "trainer_state.json";
inline constexpr std::string_view kTrainingArgsFile = "training_args.json";
inline constexpr std::string_view kRunStateFile = "run_state.json";
inline constexpr int64_t kCheckpointFormat = 2;

// What a run's numbers depend on. A checkpoint is continued by a run that has the same only.
struct RunIdentity {
  std::string model_sha256;            // Fingerprint(ModelFiles)
  std::string data_sha256;             // Fingerprint(Dataset)
  std::string evaluation_sha256 = {};  // the same of the rows to evaluate on; empty: none
  std::string teacher_sha256 = {};     // Teacher::Fingerprint()
  int64_t examples = 0;
  Json options;  // without the places of files
};

using HostArrays = std::vector<std::vector<std::byte>>;

// A run's state between two steps, copied to the host.
struct RunState {
  int64_t step = 0;  // updates done
  double epoch = 0;
  DataPosition data;     // of the next batch
  HostArrays trainable;  // parameters in the order of the specs
  HostArrays optimizer;  // in the order of the slots
};

// A checkpoint that is complete.
class Checkpoint {
 public:
  // Throws Error when a file is missing or not as it was written.
  explicit Checkpoint(std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  int64_t step() const { return step_; }
  const DataPosition& data() const { return data_; }
  // The lines of metrics.jsonl up to this step.
  std::string MetricsRows() const;
  // The best evaluation up to this step.
  BestModel Best() const;

  // Throws Error that names everything in which `run` differs.
  void CheckBelongsTo(const RunIdentity& run) const;

  // What the run's layers keep.
  MemoryPolicy policy() const;

  // The optimiser's state. Throws Error when names or shapes are others.
  std::vector<pjrt::Buffer> LoadOptimizer(const std::vector<optim::Slot>& slots,
                                          const pjrt::Device& device) const;

 private:
  std::filesystem::path folder_;
  RunIdentity identity_;
  int64_t step_ = 0;
  DataPosition data_;
};

struct CheckpointFolder {
  int64_t step = 0;
  std::filesystem::path path;
};

CheckpointFolder CheckpointAt(const std::filesystem::path& out, int64_t step);

// The folders checkpoint-N of an output folder, by N.
std::vector<CheckpointFolder> ListCheckpoints(const std::filesystem::path& out);

}  // namespace sophia::train
