#include "sophia/train/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/train/checkpoint_writer.h"
#include "sophia/train/interrupt.h"
#include "sophia/train/metrics_log.h"

namespace sophia::train {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

void MakeCheckpoints(const fs::path& out, const std::vector<int64_t>& steps) {
  for (const int64_t step : steps) {
    fs::create_directory(CheckpointAt(out, step).path);
    WriteFile(CheckpointAt(out, step).path / "file", "x");
  }
}

std::vector<int64_t> Steps(const fs::path& out) {
  std::vector<int64_t> steps;
  for (const CheckpointFolder& one : ListCheckpoints(out)) steps.push_back(one.step);
  return steps;
}

TEST(CheckpointFoldersTest, AreListedByStep) {
  const TemporaryFolder out;
  MakeCheckpoints(out.path(), {100, 20, 3});
  for (const char* other : {"checkpoint-", "checkpoint-7x", "tmp-checkpoint-5", "model"}) {
    fs::create_directory(out.path() / other);
  }
  WriteFile(out.path() / "checkpoint-9", "a file");
  EXPECT_THAT(Steps(out.path()), ElementsAre(3, 20, 100));
  EXPECT_THAT(Steps(out.path() / "none"), ElementsAre());
}

TEST(CheckpointFoldersTest, TheOldestGoFirst) {
  const TemporaryFolder out;
  MakeCheckpoints(out.path(), {1, 2, 3, 10});
  DropOldCheckpoints(out.path(), 0);
  EXPECT_THAT(Steps(out.path()), ElementsAre(1, 2, 3, 10));
  DropOldCheckpoints(out.path(), 3);
  EXPECT_THAT(Steps(out.path()), ElementsAre(2, 3, 10));
  EXPECT_EQ(std::distance(fs::directory_iterator(out.path()), {}), 3);
}

TEST(CheckpointFoldersTest, TheBestAndTheLatestStay) {
  const TemporaryFolder out;
  MakeCheckpoints(out.path(), {1, 2, 3, 4});
  DropOldCheckpoints(out.path(), 2, 1);
  EXPECT_THAT(Steps(out.path()), ElementsAre(1, 4));
  MakeCheckpoints(out.path(), {2, 3, 5, 6});
  DropOldCheckpoints(out.path(), 3, 2);
  EXPECT_THAT(Steps(out.path()), ElementsAre(2, 5, 6));
  DropOldCheckpoints(out.path(), 2, 2);
  EXPECT_THAT(Steps(out.path()), ElementsAre(2, 6));
}

TEST(CheckpointFoldersTest, ALimitOfOneKeepsTheBestAndTheLatest) {
  const TemporaryFolder out;
  MakeCheckpoints(out.path(), {1, 4, 5});
  DropOldCheckpoints(out.path(), 1, 1);
  EXPECT_THAT(Steps(out.path()), ElementsAre(1, 5));
  DropOldCheckpoints(out.path(), 1, 5);
  EXPECT_THAT(Steps(out.path()), ElementsAre(5));
}

Json RowOf(int64_t step) { return {{"step", step}, {"loss", 1.5}}; }

TEST(MetricsLogTest, ReplacesTheFileAndGoesOn) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "metrics.jsonl";
  WriteFile(path, "{\"step\":1}\n{\"step\":2}\n{\"st");
  MetricsLog log(path, "{\"step\":1}\n");
  EXPECT_TRUE(log.AddRow(RowOf(2)));
  log.Finish();
  EXPECT_EQ(ReadFile(path), log.rows());
  EXPECT_EQ(log.rows(), "{\"step\":1}\n{\"step\":2,\"loss\":1.5}\n");
}

// A limit on the size of files stands for a full disk.
TEST(MetricsLogTest, ALineThatDoesNotFitIsWrittenLater) {
  const TemporaryFolder folder;
  MetricsLog log(folder.path() / "metrics.jsonl", "");
  EXPECT_TRUE(log.AddRow(RowOf(1)));
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit tight{log.rows().size() + 10, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &tight);
  EXPECT_FALSE(log.AddRow(RowOf(2)));
  EXPECT_THAT([&] { log.Finish(); }, ThrowsMessage<Error>(HasSubstr("File too large")));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(log.AddRow(RowOf(3)));
  EXPECT_EQ(ReadFile(log.path()), log.rows());
}

TEST(InterruptGuardTest, RemembersTheFirstSignal) {
  const InterruptGuard guard;
  EXPECT_EQ(guard.received(), 0);
  std::raise(SIGTERM);
  EXPECT_EQ(guard.received(), SIGTERM);
  EXPECT_EXIT(std::raise(SIGTERM), ::testing::KilledBySignal(SIGTERM), ::testing::_);
}

TEST(InterruptGuardTest, WhatIsIgnoredStaysIgnored) {
  const auto before = std::signal(SIGINT, SIG_IGN);
  {
    const InterruptGuard guard;
    std::raise(SIGINT);
    EXPECT_EQ(guard.received(), 0);
  }
  std::signal(SIGINT, before);
}

}  // namespace
}  // namespace sophia::train
