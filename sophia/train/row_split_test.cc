#include "sophia/train/row_split.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/train/training_data.h"

namespace sophia::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(RowSplitTest, EveryRowIsInOneOfBothParts) {
  for (const double share : {0.01, 0.1, 0.3, 0.5, 0.9}) {
    const RowSplit split = SplitRows(30, share, 7);
    // scikit-learn: ceil for the test part.
    EXPECT_EQ(split.evaluation.size(), static_cast<size_t>(std::ceil(30 * share)));
    std::vector<size_t> all = split.train;
    all.insert(all.end(), split.evaluation.begin(), split.evaluation.end());
    std::ranges::sort(all);
    std::vector<size_t> expected(30);
    std::iota(expected.begin(), expected.end(), size_t{0});
    EXPECT_EQ(all, expected);
    EXPECT_TRUE(std::ranges::is_sorted(split.train));
    EXPECT_TRUE(std::ranges::is_sorted(split.evaluation));
  }
}

TEST(RowSplitTest, TheSeedDecides) {
  EXPECT_EQ(SplitRows(100, 0.2, 1).evaluation, SplitRows(100, 0.2, 1).evaluation);
  EXPECT_NE(SplitRows(100, 0.2, 1).evaluation, SplitRows(100, 0.2, 2).evaluation);
  EXPECT_THAT([] { SplitRows(5, 0.9, 1); },
              ThrowsMessage<Error>(HasSubstr("expected a share that leaves rows to train on, got 5 "
                                             "of 5 rows held out")));
}

// Rows [n, n, n] of two files, n from 1.
class SplitDataTest : public ::testing::Test {
 protected:
  SplitDataTest() {
    Write("a.jsonl", 1, 12);
    Write("b.jsonl", 13, 20);
    options_.data = {folder_.path() / "a.jsonl", folder_.path() / "b.jsonl"};
    options_.eval = {.split = 0.25, .strategy = EvalStrategy::kEpoch};
  }
  void Write(const char* name, int first, int last) const {
    std::string text;
    for (int n = first; n <= last; ++n) text += Dump({{"input_ids", {n, n, n}}}) + "\n";
    WriteFile(folder_.path() / name, text);
  }
  TrainingData Open() const { return OpenData(options_, {.vocab = 100}); }
  static std::vector<int32_t> FirstIds(const ExampleSource& source) {
    std::vector<size_t> rows(source.size());
    std::iota(rows.begin(), rows.end(), size_t{0});
    std::vector<int32_t> ids;
    for (const Example& example : source.Get(rows)) ids.push_back(example.ids[0]);
    return ids;
  }
  TemporaryFolder folder_;
  TrainOptions options_;
};

TEST_F(SplitDataTest, RowsAreTrainedOnOrEvaluated) {
  const TrainingData data = Open();
  const std::vector<int32_t> trained = FirstIds(*data.source);
  std::vector<int32_t> all = FirstIds(*data.evaluation);
  EXPECT_EQ(all.size(), 5u);
  all.insert(all.end(), trained.begin(), trained.end());
  std::ranges::sort(all);
  std::vector<int32_t> expected(20);
  std::iota(expected.begin(), expected.end(), 1);
  EXPECT_EQ(all, expected);
  const size_t of_a =
      static_cast<size_t>(std::ranges::count_if(trained, [](int n) { return n <= 12; }));
  EXPECT_THAT(data.source->parts(), ElementsAre(of_a, 15 - of_a));
}

TEST_F(SplitDataTest, AStreamHasTheSameSplit) {
  const TrainingData data = Open();
  options_.streaming = true;
  options_.max_steps = 5;
  const TrainingData streamed = Open();
  EXPECT_EQ(FirstIds(*streamed.source), FirstIds(*data.source));
  EXPECT_EQ(streamed.source->parts(), data.source->parts());
  EXPECT_EQ(streamed.evaluation_sha256, data.evaluation_sha256);
}

TEST_F(SplitDataTest, HeldOutRowsStayOutWhenNothingIsEvaluated) {
  const TrainingData data = Open();
  options_.eval.strategy = EvalStrategy::kNo;
  const TrainingData alone = Open();
  EXPECT_EQ(alone.evaluation, nullptr);
  EXPECT_EQ(alone.sha256, data.sha256);
  EXPECT_EQ(alone.evaluation_sha256, "");
}

TEST_F(SplitDataTest, FilesAndFoldersOfRowsToEvaluateOn) {
  options_.eval = {.strategy = EvalStrategy::kEpoch};
  EXPECT_EQ(Open().evaluation, nullptr);
  options_.eval.needs_rows = true;
  EXPECT_THAT([&] { Open(); }, ThrowsMessage<Error>(HasSubstr("expected rows to evaluate on")));
  Write("train.jsonl", 1, 4);
  Write("valid.jsonl", 5, 6);
  options_.data = {folder_.path()};
  EXPECT_THAT(FirstIds(*Open().evaluation), ElementsAre(5, 6));
  options_.eval.data = {folder_.path() / "b.jsonl", folder_.path()};
  EXPECT_THAT(FirstIds(*Open().evaluation), ElementsAre(13, 14, 15, 16, 17, 18, 19, 20, 5, 6));
  options_.eval = {.split = 0.5, .strategy = EvalStrategy::kEpoch};
  EXPECT_THAT([&] { Open(); },
              ThrowsMessage<Error>(HasSubstr("expected data without rows to evaluate on")));
  const TemporaryFolder empty;
  options_.eval = {.data = {empty.path()}, .strategy = EvalStrategy::kEpoch};
  EXPECT_THAT([&] { Open(); },
              ThrowsMessage<Error>(HasSubstr("expected a folder with valid.jsonl")));
}

TEST_F(SplitDataTest, RowsToEvaluateOnCountForTheLongest) {
  WriteFile(folder_.path() / "long.jsonl", Dump({{"input_ids", std::vector<int>(50, 1)}}));
  options_.eval = {.data = {folder_.path() / "long.jsonl"}, .strategy = EvalStrategy::kEpoch};
  EXPECT_EQ(Open().longest, 50);
}

}  // namespace
}  // namespace sophia::train
