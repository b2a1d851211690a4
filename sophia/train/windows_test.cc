#include "sophia/train/windows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "sophia/base/error_for_test.h"
#include "sophia/base/file.h"
#include "sophia/train/batches.h"

namespace sophia::train {
namespace {

using ::testing::HasSubstr;

// Files of so many rows; row i of all has the first id i.
FileLists WriteFiles(const std::filesystem::path& folder, const std::vector<int>& counts) {
  FileLists files;
  int id = 0;
  for (const int count : counts) {
    std::string text;
    for (int i = 0; i < count; ++i, ++id) {
      text +=
          fmt::format(R"({{"input_ids": [{}, 1, 2{}]}})", id, id % 3 == 0 ? ", 3, 4" : "") + "\n";
    }
    files.push_back({folder / fmt::format("{}.jsonl", files.size())});
    WriteFile(files.back()[0], text);
  }
  return files;
}

std::map<size_t, int> Counted(const std::vector<size_t>& rows) {
  std::map<size_t, int> counts;
  for (const size_t row : rows) ++counts[row];
  return counts;
}

TEST(WindowsTest, WeightsSayHowOftenTheRowsOfAFileAreDealtOut) {
  const TemporaryFolder folder;
  const Dataset dataset =
      LoadDataset({WriteFiles(folder.path(), {10, 100, 7}), {.vocab = 1000}, 8});
  Windows windows(dataset, {.shuffle = true, .seed = 3, .weights = {2, 0.25, 1.5}});
  std::vector<std::map<size_t, int>> epochs;
  for (int64_t epoch = 1; epoch <= 3; ++epoch) {
    const std::map<size_t, int> counts = Counted(windows.Order(epoch));
    size_t drawn = 0;
    for (const auto& [row, count] : counts) {
      EXPECT_GE(count, row < 10 ? 2 : 1);
      EXPECT_LE(count, row >= 10 && row < 110 ? 1 : 2);
      drawn += static_cast<size_t>(count);
    }
    EXPECT_EQ(drawn, 20u + 25 + 7 + 4);
    EXPECT_EQ(counts.size(), 10u + 25 + 7);
    epochs.push_back(counts);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
  EXPECT_EQ(Counted(windows.Order(1)), epochs[0]);
  BatchLoader loader(dataset, ShapeFor(dataset, {.batch = 8}),
                     {.shuffle = true, .seed = 3, .weights = {2, 0.25, 1.5}});
  EXPECT_EQ(loader.StepsOf(2), 14);
  while (loader.epochs() < 1) loader.Next();
  EXPECT_EQ(loader.epochs(), 1);
}

class StreamTest : public ::testing::Test {
 protected:
  EncodedRows Rows(int count) { return {WriteFiles(folder_.path(), {count}), {.vocab = 10000}, 8}; }
  TemporaryFolder folder_;
};

TEST_F(StreamTest, BatchesAreThoseOfRowsInMemory) {
  const Dataset dataset = LoadDataset(Rows(2500));
  const StreamedRows stream(Rows(2500));
  const BatchShape shape = FullShape(8, {.batch = 4, .packing = true});
  BatchLoader ours(stream, shape, {.shuffle = true, .seed = 5});
  BatchLoader reference(dataset, shape, {.shuffle = true, .seed = 5});
  const int64_t steps = reference.StepsOf(1.5);
  for (int64_t i = 0; i < steps; ++i) {
    const Batch expected = reference.Next();
    const Batch batch = ours.Next();
    ASSERT_EQ(batch.ids, expected.ids) << i;
    ASSERT_EQ(batch.labels, expected.labels) << i;
    ASSERT_GE(batch.waited_seconds, 0);
  }
}

TEST_F(StreamTest, ARowThatIsWrongIsNamedWhenItsTurnComes) {
  const auto files = WriteFiles(folder_.path(), {2500});
  std::string text = ReadFile(files[0][0]);
  const size_t at = text.find(R"({"input_ids": [2100,)");
  text.replace(at, 1, "?");
  WriteFile(files[0][0], text);
  const StreamedRows stream(EncodedRows(files, {.vocab = 10000}, 8));
  BatchLoader loader(stream, FullShape(8, {.batch = 1024}), {.shuffle = false});
  EXPECT_EQ(loader.Next().tokens, 1024 * 3 + 342 * 2);
  EXPECT_NO_THROW(loader.Next());
  EXPECT_THAT(MessageOf([&] { loader.Next(); }), HasSubstr("0.jsonl:2101] expected valid JSON"));
}

TEST_F(StreamTest, RowsWithoutATrainedTokenAreLeftOut) {
  const auto path = folder_.path() / "rows.jsonl";
  std::string text;
  for (int i = 0; i < 4000; ++i) {
    text += fmt::format(R"({{"input_ids": [{}, 5], "labels": [-100, {}]}})", i,
                        i % 3000 == 7 ? 5 : -100) +
            "\n";
  }
  WriteFile(path, text);
  const StreamedRows stream(EncodedRows({{path}}, {.vocab = 10000}, 8));
  BatchLoader loader(stream, FullShape(8, {.batch = 2}), {.shuffle = false});
  const Batch batch = loader.Next();
  EXPECT_EQ(batch.trained_tokens, 2);
  EXPECT_EQ(batch.ids[8], 3007);
  EXPECT_EQ(loader.Next().ids[0], 7);
  EXPECT_EQ(loader.position().epoch, 2);
}

}  // namespace
}  // namespace sophia::train
