#include "sophia/base/unnamed_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "sophia/base/error_for_test.h"

namespace sophia {
namespace {

class TemporaryFolderOfProcess {
 public:
  explicit TemporaryFolderOfProcess(const std::string& path) {
    if (const char* value = std::getenv("TMPDIR")) before_ = value;
    setenv("TMPDIR", path.c_str(), 1);
  }
  ~TemporaryFolderOfProcess() {
    before_.empty() ? unsetenv("TMPDIR") : setenv("TMPDIR", before_.c_str(), 1);
  }

 private:
  std::string before_;
};

TEST(UnnamedFileTest, KeepsWhatWasAppendedAndLeavesNoName) {
  const TemporaryFolder folder;
  const TemporaryFolderOfProcess here(folder.path().string());
  UnnamedFile file("some rows");
  std::string expected;
  for (int i = 0; i < 3000; ++i) {
    const std::string piece(static_cast<size_t>(i), static_cast<char>('a' + i % 26));
    file.Append(piece);
    expected += piece;
  }
  EXPECT_EQ(file.size(), expected.size());
  const RandomAccessFile read = file.Finish();
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  ASSERT_EQ(read.size(), expected.size());
  std::string text(expected.size(), '\0');
  read.Read(0, text);
  EXPECT_TRUE(text == expected);
}

TEST(UnnamedFileTest, AFolderThatIsNoneIsNamed) {
  const TemporaryFolderOfProcess nowhere("/nonexistent");
  EXPECT_NE(MessageOf([] {
              UnnamedFile("some rows");
            }).find("[some rows] expected a temporary folder (TMPDIR), got: "),
            std::string::npos);
}

}  // namespace
}  // namespace sophia
