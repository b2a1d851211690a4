#include "sophia/train/progress.h"

#include <gmock/gmock.h>

namespace sophia::train {
namespace {

using ::testing::EndsWith;
using ::testing::StartsWith;

StepReport Sample() {
  return {.metrics = {.step = 25,
                      .epoch = 0.5,
                      .loss = 1.25,
                      .grad_norm = 0.5123,
                      .learning_rate = 2e-4,
                      .tokens = 100,
                      .seconds = 0.5},
          .total_steps = 100,
          .run_tokens_per_second = 180.4,
          .flops_per_second = 1.234e9,
          .host_memory = 623'000'000,
          .seconds_left = 65};
}

TEST(ProgressTest, SaysEverythingInALine) {
  StepReport report = Sample();
  EXPECT_EQ(ProgressLine(report),
            "step 25/100  loss 1.2500  lr 2.00e-04  grad 0.512  180 tokens/s  left 1:05  "
            "1.23 GFLOP/s  host 623 MB");
  report.device_memory = 15'750'000'000;
  EXPECT_THAT(ProgressLine(report), EndsWith("GFLOP/s  device 15.8 GB  host 623 MB"));
}

size_t Columns(const std::string& text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

TEST(ProgressTest, FitsEveryWidth) {
  const StepReport report = Sample();
  for (size_t width = 0; width < 200; ++width) {
    EXPECT_LE(Columns(ProgressBar(report, width)), width);
  }
  EXPECT_EQ(ProgressBar(report, 30), "step 25/100  loss 1.2500");
  EXPECT_EQ(ProgressBar(report, 36), "██░░░░░░░░░ step 25/100  loss 1.2500");
  EXPECT_THAT(ProgressBar(report, 199), StartsWith("██████░░░░░░░░░░░░░░░░░░ step 25/100"));
  EXPECT_THAT(ProgressBar(report, 199), EndsWith("host 623 MB"));
}

TEST(ProgressTest, RowsHaveWhatTheLineHas) {
  const Json row = ToJson(Sample());
  EXPECT_EQ(row["tokens_per_second"], 200);
  EXPECT_EQ(row["step_seconds"], 0.5);
  EXPECT_EQ(row["flops_per_second"], 1.234e9);
  EXPECT_EQ(row["eta_seconds"], 65);
  EXPECT_EQ(row["host_memory_bytes"], 623'000'000);
  EXPECT_TRUE(row["device_memory_bytes"].is_null());
  StepReport report = Sample();
  report.device_memory = 7;
  EXPECT_EQ(ToJson(report)["device_memory_bytes"], 7);
}

}  // namespace
}  // namespace sophia::train
