#include "sophia/train/training_data.h"

#include <fmt/format.h>

#include <algorithm>

#include "sophia/train/fingerprint.h"

namespace sophia::train {

TrainingData OpenData(const TrainOptions& options, TextEncoder encoder) {
  EncodedRows rows(TrainFiles(options.data), std::move(encoder), options.max_length);
  const BatchOptions batch = BatchOptionsOf(options);
  TrainingData data;
  if (options.streaming) {
    auto streamed = std::make_unique<StreamedRows>(std::move(rows));
    data.shape = FullShape(options.max_length, batch);
    data.longest = options.max_length;
    data.summary = fmt::format("{} rows, streamed", streamed->size());
    data.sha256 = Fingerprint(*streamed);
    data.source = std::move(streamed);
  } else {
    auto dataset = std::make_unique<Dataset>(LoadDataset(rows));
    data.shape = ShapeFor(*dataset, batch);
    for (const Example& example : dataset->examples) {
      data.longest = std::max(data.longest, static_cast<int64_t>(example.ids.size()));
    }
    data.summary = Summary(*dataset);
    data.sha256 = Fingerprint(*dataset);
    data.source = std::move(dataset);
  }
  return data;
}

BatchOptions BatchOptionsOf(const TrainOptions& options) {
  return {.batch = options.batch,
          .accumulation = options.gradient_accumulation_steps,
          .packing = options.packing};
}

LoaderOptions LoaderOptionsOf(const TrainOptions& options) {
  return {.shuffle = options.shuffle, .seed = options.seed, .weights = options.data_weights};
}

}  // namespace sophia::train
