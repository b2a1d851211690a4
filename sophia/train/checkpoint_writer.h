#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "sophia/train/run.h"

namespace sophia::train {

// What a checkpoint holds: all on the host, so that any thread can write it.
struct Snapshot {
  RunState state;
  std::string metrics_rows;  // the lines of metrics.jsonl so far
  BestModel best = {};
};

// The options of a run, as `train --config` reads them. An initial adapter gives the LoRA options,
// so they are not repeated beside it.
Json TrainingArgs(const TrainingRun& run, const OutputOptions& output);

// Writes checkpoint-N into the output folder and returns its path. Its files are on the disk before
// it gets that name. Throws Error when it cannot be written; nothing of it is left then.
std::filesystem::path WriteCheckpoint(const TrainingRun& run, const OutputOptions& output,
                                      const Snapshot& snapshot);

// Deletes the oldest checkpoints beyond `limit` (0: none), but neither the latest nor `best_step`.
void DropOldCheckpoints(const std::filesystem::path& out, int64_t limit,
                        std::optional<int64_t> best_step = std::nullopt);

// Deletes a checkpoint; its name goes first, so that a half-deleted one is never found.
void DeleteCheckpoint(const CheckpointFolder& checkpoint);

// Deletes what writers that were killed have left in an output folder.
void RemoveLeftovers(const std::filesystem::path& out);

}  // namespace sophia::train
