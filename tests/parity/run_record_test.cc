// The comparison of base weights before and after a run, on a run whose weights are tampered with.
#include "sophia/train/run_record.h"

#include <gmock/gmock.h>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/json.h"
#include "sophia/base/sha256.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/train/prove.h"

namespace sophia::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const std::filesystem::path kFixtures = SOPHIA_SOURCE_DIR "/tests/fixtures";

TrainingRun TinyRun() {
  TrainOptions options;
  options.model = kFixtures / "llama/gqa";
  options.data = {kFixtures / "sft/rows.jsonl"};
  options.max_steps = 2;
  return TrainingRun(options, {.client = pjrt::SharedCpuClient().shared_from_this()});
}

void NoWarning(const std::string& text) { ADD_FAILURE() << text; }

size_t FirstFrozen(const TrainingRun& run) {
  size_t i = 0;
  while (run.specs()[i].trainable) ++i;
  return i;
}

TEST(RunRecordTest, HashesTheBytesOfTheDevice) {
  const TrainingRun run = TinyRun();
  const std::vector<std::string> hashes = BaseHashes(run.specs(), run.parameters());
  for (size_t i = 0; i < hashes.size(); ++i) {
    if (run.specs()[i].trainable) continue;
    std::string bytes(static_cast<size_t>(run.parameters()[i].shape().bytes()), '\0');
    run.parameters()[i].ToHost(std::as_writable_bytes(std::span(bytes)));
    EXPECT_EQ(hashes[i], Sha256Hex(bytes)) << run.specs()[i].path;
  }
}

TEST(RunRecordTest, AMovedBaseWeightIsAnError) {
  const TemporaryFolder folder;
  TrainingRun run = TinyRun();
  RunRecord record(run, {.folder = folder.path()}, Json(), NoWarning);
  run.Step(run.NextBatch());
  EXPECT_NO_THROW(record.CheckBase());

  const size_t frozen = FirstFrozen(run);
  auto& weight = const_cast<pjrt::Buffer&>(run.parameters()[frozen]);
  std::vector<std::byte> bytes(static_cast<size_t>(weight.shape().bytes()));
  weight.ToHost(bytes);
  bytes.back() ^= std::byte{1};
  weight = pjrt::Buffer::FromHost(run.device(), weight.shape(), bytes);
  EXPECT_THAT([&] { record.CheckBase(); },
              ThrowsMessage<Error>(HasSubstr("[base weights] expected all as they were loaded, got "
                                             "moved: " +
                                             run.specs()[frozen].path)));
  record.End(RunEnd::kFailed, "why");
  const Json json = ReadJson(folder.path() / "run.json");
  EXPECT_EQ(json["state"], "failed");
  EXPECT_EQ(json["reason"], "why");
  EXPECT_THAT(json["base_weights"]["moved"], ElementsAre(run.specs()[frozen].path));
  EXPECT_NE(json["base_weights"]["sha256_before"], json["base_weights"]["sha256_after"]);
}

TEST(RunRecordTest, WhatCannotBeWrittenIsAWarning) {
  const TrainingRun run = TinyRun();
  std::vector<std::string> warnings;
  const RunRecord record(run, {.folder = "/dev/null/none", .verify_base = false}, Json(),
                         [&](const std::string& text) { warnings.push_back(text); });
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_THAT(warnings[0], HasSubstr("the run goes on without it"));
}

}  // namespace
}  // namespace sophia::train
