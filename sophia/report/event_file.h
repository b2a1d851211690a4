#pragma once

#include <filesystem>

#include "sophia/base/append_file.h"
#include "sophia/base/json.h"

namespace sophia::report {

// A TensorBoard event file: records of Event messages
// (https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto).
class EventFile {
 public:
  // Makes the folder, if need be, and a new file in it. Steps that earlier files of the folder have
  // from `first_step` on are dropped by readers. Throws Error when it cannot be written.
  EventFile(const std::filesystem::path& folder, int64_t first_step);

  // A scalar for each number of `row`, a line of metrics.jsonl, at its step. Tags are those of
  // transformers' Trainer: eval_loss becomes eval/loss, loss becomes train/loss. False when the
  // file does not take it now; it is then written with a later one.
  bool Add(const Json& row);
  // Throws Error when events could not be written.
  void Finish() { file_.Finish(); }

  const std::filesystem::path& path() const { return file_.path(); }

 private:
  AppendFile file_;
};

}  // namespace sophia::report
