#pragma once

#include <memory>
#include <string>

#include "sophia/train/batches.h"
#include "sophia/train/options.h"

namespace sophia::train {

// A run's data, encoded or as a stream.
struct TrainingData {
  std::unique_ptr<ExampleSource> source;
  BatchShape shape;     // of all its batches
  int64_t longest = 0;  // tokens of a row, at most; rows to evaluate on are counted
  std::string summary;  // a line for people
  std::string sha256;   // Fingerprint
  // Rows to evaluate on, all encoded; nullptr: none.
  std::unique_ptr<Dataset> evaluation;
  std::string evaluation_sha256;
};

// Opens the files of the options and, unless they are streamed, encodes all rows. Throws Error for
// broken files, rows and masks, and for an evaluation that has no rows.
TrainingData OpenData(const TrainOptions& options, TextEncoder encoder);

BatchOptions BatchOptionsOf(const TrainOptions& options);
LoaderOptions LoaderOptionsOf(const TrainOptions& options);

}  // namespace sophia::train
