#include "sophia/report/metrics_file.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>

#include "sophia/base/file.h"

namespace sophia::report {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

void Append(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::app | std::ios::binary) << text;
}

std::vector<double> Values(const MetricsFile& file, std::string_view key) {
  std::vector<double> values;
  const auto found = file.metrics().series.find(key);
  if (found == file.metrics().series.end()) return values;
  for (const Point& point : found->second) values.push_back(point.value);
  return values;
}

TEST(MetricsFileTest, FollowsTheFile) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "metrics.jsonl";
  MetricsFile file(path);
  file.Refresh();
  EXPECT_TRUE(file.metrics().last.is_null());
  Append(path, "{\"step\":1,\"loss\":3}\n{\"step\":2,\"lo");
  file.Refresh();
  EXPECT_THAT(Values(file, "loss"), ElementsAre(3));
  EXPECT_TRUE(file.metrics().ends_early);
  Append(path, "ss\":2}\n{\"step\":2,\"eval_loss\":2.5}\n");
  file.Refresh();
  EXPECT_THAT(Values(file, "loss"), ElementsAre(3, 2));
  EXPECT_THAT(Values(file, "eval_loss"), ElementsAre(2.5));
  EXPECT_FALSE(file.metrics().ends_early);
  EXPECT_EQ(file.metrics().last["loss"], 2);

  WriteFile(path, "{\"step\":7,\"loss\":9}\n{\"step\":8,\"loss\":8}\n{\"step\":9,\"loss\":7}\n");
  file.Refresh();
  EXPECT_THAT(Values(file, "loss"), ElementsAre(9, 8, 7));
  EXPECT_THAT(Values(file, "eval_loss"), ElementsAre());
  fs::remove(path);
  file.Refresh();
  EXPECT_THAT(Values(file, "loss"), ElementsAre());
}

TEST(MetricsFileTest, CountsLinesThatAreNone) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "metrics.jsonl";
  Append(path,
         "\n[1]\n{\"loss\":1}\n{\"step\":\"1\"}\n\xff\xfe\n{\"step\":1,\"loss\":\"x\"}\n"
         "{\"step\":2,\"loss\":null}\n{\"step\":3,\"loss\":1e999}\n"
         "{\"step\":4,\"loss\":1e300}\n");
  MetricsFile file(path);
  file.Refresh();
  EXPECT_EQ(file.metrics().broken_lines, 5u);  // JSON has no 1e999
  const std::vector<double> values = Values(file, "loss");
  ASSERT_EQ(values.size(), 2u);
  EXPECT_TRUE(std::isnan(values[0]));
  EXPECT_TRUE(std::isnan(values[1]));
}

}  // namespace
}  // namespace sophia::report
