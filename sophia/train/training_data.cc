#include "sophia/train/training_data.h"

#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/train/fingerprint.h"
#include "sophia/train/row_split.h"

namespace sophia::train {
namespace {

int64_t Longest(const Dataset& dataset) {
  size_t longest = 0;
  for (const Example& example : dataset.examples) longest = std::max(longest, example.ids.size());
  return static_cast<int64_t>(longest);
}

// Takes the rows of --eval-split out of `rows`, or opens the files; nullopt: there are none.
std::optional<EncodedRows> EvaluationRows(const TrainOptions& options, EncodedRows& rows) {
  const EvalOptions& eval = options.eval;
  const bool evaluates = eval.strategy != EvalStrategy::kNo;
  const FileLists files = evaluates ? EvaluationFiles(eval.data, options.data) : FileLists();
  if (eval.split > 0) {
    if (!files.empty()) {
      Fail("eval_split", "expected data without rows to evaluate on, got {}", files[0][0].string());
    }
    RowSplit split = SplitRows(rows.size(), eval.split, options.seed);
    EncodedRows held_out = rows.Select(std::move(split.evaluation));
    rows = rows.Select(std::move(split.train));
    if (evaluates) return held_out;
    return std::nullopt;
  }
  if (evaluates && files.empty() && eval.needs_rows) {
    Fail("eval_data",
         "expected rows to evaluate on (eval_data, eval_split, or a folder with valid.jsonl), got "
         "none");
  }
  if (files.empty()) return std::nullopt;
  return EncodedRows(files, rows.encoder(), options.max_length);
}

}  // namespace

TrainingData OpenData(const TrainOptions& options, TextEncoder encoder) {
  EncodedRows rows(TrainFiles(options.data), std::move(encoder), options.max_length);
  const std::optional<EncodedRows> evaluated = EvaluationRows(options, rows);
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
    data.longest = Longest(*dataset);
    data.summary = Summary(*dataset);
    data.sha256 = Fingerprint(*dataset);
    data.source = std::move(dataset);
  }
  if (evaluated) {
    data.evaluation = std::make_unique<Dataset>(LoadDataset(*evaluated));
    data.evaluation_sha256 = Fingerprint(*data.evaluation);
    data.longest = std::max(data.longest, Longest(*data.evaluation));
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
