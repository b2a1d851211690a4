#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "sophia/base/error.h"
#include "sophia/base/error_for_test.h"
#include "sophia/base/file.h"
#include "sophia/models/model_files.h"
#include "sophia/nn/loss.h"
#include "sophia/train/batches.h"
#include "sophia/train/dataset.h"
#include "sophia/train/examples.h"
#include "sophia/train/marked_text.h"
#include "sophia/train/options.h"
#include "sophia/train/progress.h"

namespace sophia::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const TextEncoder& SmolLm2() {
  static const TextEncoder encoder = TextEncoder::ForTokenizer(
      models::ModelFiles::Open(SOPHIA_DEPS_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf")
          .LoadTokenizer(),
      49152);
  return encoder;
}

// The text of the learnt tokens.
std::string Learnt(const Json& row, const TextEncoder& encoder = SmolLm2()) {
  const Example example = EncodeRow(io::ParseRow(row, "row"), encoder, "row");
  std::vector<int32_t> ids;
  for (const int32_t label : example.labels) {
    if (label != nn::kIgnoredLabel) ids.push_back(label);
  }
  return SmolLm2().tokenizer->Decode(ids);
}

Json Message(const char* role, const char* content) {
  return {{"role", role}, {"content", content}};
}

TEST(ExamplesTest, ChatsLearnTheAssistantsTurnsUpToTheirEnd) {
  const Json messages = {Message("user", "Hi"), Message("assistant", "Hello there"),
                         Message("user", "Bye"), Message("assistant", "See you")};
  EXPECT_EQ(Learnt({{"messages", messages}}), "Hello there<|im_end|>See you<|im_end|>");
}

TEST(ExamplesTest, CompletionsAreLearntAndPromptsAreNot) {
  EXPECT_EQ(Learnt({{"prompt", "2+2="}, {"completion", "4"}}), "4<|im_end|>");
  EXPECT_EQ(
      Learnt({{"prompt", {Message("user", "Hi")}}, {"completion", {Message("assistant", "Yo")}}}),
      "Yo<|im_end|>");
  EXPECT_EQ(Learnt({{"text", "All of it"}}), "All of it<|im_end|>");
}

TEST(ExamplesTest, CompletionsLearnWhatTheTemplateMarksInThem) {
  TextEncoder encoder = SmolLm2();
  encoder.chat_template.emplace(
      "{% for m in messages %}{{ m.role }}:\n{% if m.role == 'assistant' %}{% generation %}"
      "{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>{% endfor %}"
      "{% if add_generation_prompt %}assistant:\n{% endif %}");
  const Json row = {
      {"prompt", {Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Bye")}},
      {"completion", {Message("assistant", "See you")}}};
  EXPECT_EQ(Learnt(row, encoder), "See you");
  encoder.chat_template.emplace(
      "{{ messages | length }}{% for m in messages %}{% generation %}{{ m.content }}"
      "{% endgeneration %}{% endfor %}");
  EXPECT_THAT([&] { Learnt(row, encoder); },
              ThrowsMessage<Error>(HasSubstr("got one that renders the prompt differently")));
}

TEST(ExamplesTest, SegmentsAreOneTextOfWhichTheLabelledAreLearnt) {
  const Json segments = {{{"text", "2+2="}, {"label", false}}, {{"text", "4"}, {"label", true}}};
  EXPECT_EQ(Learnt({{"segments", segments}}), "4");
  EXPECT_EQ(EncodeRow(io::ParseRow({{"segments", segments}}, "row"), SmolLm2(), "row").ids,
            SmolLm2().tokenizer->Encode("2+2=4"));
}

TEST(ExamplesTest, TokenIdsAreChecked) {
  EXPECT_THAT(
      [] {
        EncodeRow(io::TokensRow{.input_ids = {1, 49152}}, SmolLm2(), "rows.jsonl:3");
      },
      ThrowsMessage<Error>("[rows.jsonl:3] expected token ids from 0 to 49151, got 49152"));
}

TEST(ExamplesTest, PaddingAtTheEndsIsDropped) {
  const auto encode = [](std::vector<int64_t> mask) {
    return EncodeRow(io::TokensRow{.input_ids = {7, 8, 9, 10, 11},
                                   .labels = {7, -100, 9, 10, 11},
                                   .attention_mask = std::move(mask)},
                     SmolLm2(), "rows.jsonl:3");
  };
  EXPECT_THAT(encode({1, 1, 1, 1, 1}).ids, ElementsAre(7, 8, 9, 10, 11));
  EXPECT_THAT(encode({0, 1, 1, 1, 0}).ids, ElementsAre(8, 9, 10));
  EXPECT_THAT(encode({0, 1, 1, 1, 0}).labels, ElementsAre(-100, 9, 10));
  EXPECT_THAT(encode({0, 0, 0, 1, 1}).labels, ElementsAre(10, 11));
  EXPECT_THAT(encode({0, 0, 0, 0, 0}).ids, ElementsAre());
  EXPECT_THAT(
      [&] {
        encode({1, 0, 1, 1, 0});
      },
      ThrowsMessage<Error>("[rows.jsonl:3] expected an attention_mask with one run of 1, got 0 at "
                           "position 1 and 1 at 2"));
}

TEST(DatasetTest, CountsWhatItCutsAndDrops) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "rows.jsonl";
  WriteFile(path,
            "{\"input_ids\": [1, 2, 3, 4, 5]}\n"
            "{\"input_ids\": [1, 2, 3, 4], \"labels\": [-100, -100, -100, 4]}\n"
            "{\"input_ids\": [1, 2]}\n");
  const Dataset dataset = LoadDataset({{{path}}, {.vocab = 10}, 3});
  EXPECT_EQ(dataset.truncated, 2);
  EXPECT_EQ(dataset.dropped, 1);
  EXPECT_EQ(dataset.examples.size(), 2u);
  EXPECT_EQ(Summary(dataset),
            "2 examples, 2 truncated to max_length, 1 dropped without a trained token");
  WriteFile(path, "{\"input_ids\": [1, 2], \"labels\": [-100, -100]}\n");
  EXPECT_THAT(
      [&] {
        LoadDataset({{{path}}, {.vocab = 10}, 3});
      },
      ThrowsMessage<Error>(HasSubstr("expected a row with a trained token")));
}

std::vector<size_t> All(const EncodedRows& rows) {
  std::vector<size_t> all(rows.size());
  std::iota(all.begin(), all.end(), size_t{0});
  return all;
}

TEST(EncodedRowsTest, RowsOfSeveralFilesFollowEachOther) {
  const TemporaryFolder folder;
  std::vector<std::filesystem::path> files;
  int32_t id = 0;
  for (const int count : {3, 200, 1}) {
    std::string text;
    for (int i = 0; i < count; ++i) text += fmt::format("{{\"input_ids\": [{}, 7]}}\n", id++);
    files.push_back(folder.path() / fmt::format("{}.jsonl", count));
    WriteFile(files.back(), text);
  }
  const EncodedRows rows({{files[0], files[1]}, {files[2]}}, {.vocab = 1000}, 8);
  ASSERT_EQ(rows.size(), 204u);
  EXPECT_THAT(rows.Where(0), HasSubstr("3.jsonl:1"));
  EXPECT_THAT(rows.Where(202), HasSubstr("200.jsonl:200"));
  EXPECT_THAT(rows.Where(203), HasSubstr("1.jsonl:1"));
  const std::vector<EncodedRow> all = rows.Get(All(rows));
  for (int32_t i = 0; i < 204; ++i) EXPECT_EQ(all[static_cast<size_t>(i)].example.ids[0], i);
  EXPECT_THAT(rows.Name(), HasSubstr("3.jsonl and 2 more"));
  EXPECT_THAT(rows.parts(), testing::ElementsAre(203, 1));
}

TEST(EncodedRowsTest, TheFirstRowThatIsWrongIsNamed) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 500; ++i)
    text += i % 100 == 42 ? "{\"x\": 1}\n" : "{\"input_ids\": [1, 2]}\n";
  WriteFile(folder.path() / "rows.jsonl", text);
  const EncodedRows rows({{folder.path() / "rows.jsonl"}}, {.vocab = 10}, 8);
  for (int i = 0; i < 10; ++i) {
    EXPECT_THAT([&] { rows.Get(All(rows)); }, ThrowsMessage<Error>(HasSubstr("rows.jsonl:43]")));
  }
}

std::vector<RowStats> Stats(std::initializer_list<std::pair<int32_t, bool>> rows) {
  std::vector<RowStats> stats;
  for (const auto& [trained, has_prompt] : rows)
    stats.push_back({4, 4, trained, has_prompt, trained == 3});
  return stats;
}

TEST(RowStatsTest, MasksThatAreAllOrNothingAreRefused) {
  const auto message = [](const std::vector<RowStats>& stats) {
    return MessageOf([&] { CheckMasks(stats, 9, "rows.jsonl"); });
  };
  EXPECT_EQ(message(Stats({{0, true}, {0, false}})),
            "[rows.jsonl] expected a row with a trained token within 9 tokens, got none in 2 rows");
  EXPECT_EQ(message(Stats({{3, true}, {3, true}, {2, false}})),
            "[rows.jsonl] expected prompts that are not learnt, got 2 rows with prompts and every "
            "token of theirs trained");
  EXPECT_NO_THROW(CheckMasks(Stats({{3, true}, {2, true}}), 9, ""));
  EXPECT_NO_THROW(CheckMasks(Stats({{3, false}, {3, false}}), 9, ""));
}

TEST(MarkedTextTest, TrainedTokensStandBetweenMarks) {
  const auto marked = [](const Json& row) {
    return MarkedText(EncodeRow(io::ParseRow(row, "row"), SmolLm2(), "row"), SmolLm2());
  };
  EXPECT_EQ(marked({{"prompt", "2+2="}, {"completion", "4"}}), "2+2=⟦4<|im_end|>⟧");
  EXPECT_EQ(marked({{"messages", {Message("user", "né\x1b🙂"), Message("assistant", "ü")}}}),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face<|im_end|>\n<|im_start|>user\nné\\x1b🙂<|im_end|>\n<|im_start|>assistant\n"
            "⟦ü<|im_end|>⟧\n");
  EXPECT_EQ(MarkedText({{5, 6, 7, 8}, {5, 6, -100, 8}}, {}), "5 ⟦6⟧ 7 ⟦8⟧");
}

TEST(DatasetTest, CountsTurnsThatTheTemplateRendersDifferentlyLater) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "rows.jsonl";
  const Json messages = {Message("user", "Hi"), Message("assistant", "Hello there"),
                         Message("user", "Bye"), Message("assistant", "See you")};
  WriteFile(path, Dump({{"messages", messages}}) + "\n");
  TextEncoder encoder = SmolLm2();
  encoder.chat_template.emplace(
      "{% for m in messages %}{{ m.role }}:\n{% if m.role == 'assistant' and not loop.last %}old "
      "{% endif %}{{ m.content }}<|im_end|>{% endfor %}"
      "{% if add_generation_prompt %}assistant:\n{% endif %}");
  EXPECT_EQ(Learnt({{"messages", messages}}, encoder), "See you<|im_end|>");
  EXPECT_EQ(Summary(LoadDataset({{{path}}, encoder, 100})),
            "1 examples, 1 assistant turns not found in the rendered conversation, not learnt");
}

Dataset SmallDataset() {
  Dataset dataset;
  for (int32_t i = 0; i < 5; ++i) {
    dataset.examples.push_back({{i, i + 10, i + 20, i + 30}, {-100, -100, i + 20, i + 30}});
  }
  return dataset;
}

TEST(BatchesTest, LabelsAreShiftedAndPositionsGathered) {
  const Dataset dataset = SmallDataset();
  const BatchShape shape = ShapeFor(dataset, {.batch = 2});
  EXPECT_EQ(shape.seq, 8);
  EXPECT_EQ(shape.loss_positions, 8);
  EXPECT_TRUE(shape.gathers());
  BatchLoader loader(dataset, shape, {.shuffle = false, .seed = 0});
  EXPECT_EQ(loader.StepsOf(1), 3);
  const Batch batch = loader.Next();
  EXPECT_EQ(batch.tokens, 8);
  EXPECT_EQ(batch.trained_tokens, 4);
  EXPECT_THAT(batch.positions, ElementsAre(1, 2, 9, 10, 0, 0, 0, 0));
  EXPECT_THAT(batch.labels, ElementsAre(20, 30, 21, 31, -100, -100, -100, -100));
}

TEST(BatchesTest, EveryEpochDealsEachExampleOnceInAnotherOrder) {
  const Dataset dataset = SmallDataset();
  BatchLoader loader(dataset, ShapeFor(dataset, {.batch = 2, .accumulation = 2}),
                     {.shuffle = true, .seed = 7});
  std::vector<std::vector<int32_t>> epochs;
  for (int epoch = 0; epoch < 2; ++epoch) {
    epochs.emplace_back();
    for (int64_t i = 0; i < loader.StepsOf(1); ++i) {
      for (const int32_t label : loader.Next().labels) {
        if (label != nn::kIgnoredLabel && label >= 30) epochs.back().push_back(label);
      }
    }
    EXPECT_EQ(std::set<int32_t>(epochs[epoch].begin(), epochs[epoch].end()).size(), 5u);
    EXPECT_EQ(epochs[epoch].size(), 5u);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  BatchLoader again(dataset, ShapeFor(dataset, {.batch = 2, .accumulation = 2}),
                    {.shuffle = true, .seed = 7});
  BatchLoader other(dataset, ShapeFor(dataset, {.batch = 2, .accumulation = 2}),
                    {.shuffle = true, .seed = 7});
  EXPECT_EQ(again.Next().ids, other.Next().ids);
}

TEST(BatchesTest, ALoaderGoesOnFromAnyPosition) {
  const Dataset dataset = SmallDataset();
  const BatchShape shape = ShapeFor(dataset, {.batch = 2});
  BatchLoader loader(dataset, shape, {.shuffle = true, .seed = 7});
  for (int64_t i = 0; i <= loader.StepsOf(3); ++i) {
    BatchLoader other(dataset, shape, {.shuffle = true, .seed = 7});
    other.Seek(loader.position());
    EXPECT_EQ(other.Next().ids, loader.Next().ids) << i;
  }
  EXPECT_THAT([&] { loader.Seek({.epoch = 1, .row = 6}); },
              ThrowsMessage<Error>(HasSubstr("within 5 rows, got row 6 of epoch 1")));
}

TEST(TrainOptionsTest, RangesAreChecked) {
  TrainOptions options;
  EXPECT_NO_THROW(options.Check());
  options.batch = 0;
  EXPECT_THAT([&] { options.Check(); },
              ThrowsMessage<Error>("[per_device_train_batch_size] expected a value of at least 1, "
                                   "got 0"));
  options.batch = 1;
  options.adam.b2 = 1;
  EXPECT_THAT(
      [&] { options.Check(); },
      ThrowsMessage<Error>("[adam_beta2] expected a value of at least 0 and below 1, got 1"));
  options.adam.b2 = 0.999;
  options.seed = uint64_t{1} << 32;
  EXPECT_THAT([&] { options.Check(); },
              ThrowsMessage<Error>("[seed] expected a value below 2^32, got 4294967296"));
  options.seed = 42;
  options.max_steps = 0;
  EXPECT_THROW(options.Check(), Error);
}

TEST(ProgressTest, Durations) {
  EXPECT_EQ(Duration(65), "1:05");
  EXPECT_EQ(Duration(3725), "1:02:05");
}

}  // namespace
}  // namespace sophia::train
