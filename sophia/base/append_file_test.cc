#include "sophia/base/append_file.h"

#include <gmock/gmock.h>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/process.h"

namespace sophia {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(AppendFileTest, GoesOnBehindWhatIsThere) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "log";
  {
    AppendFile file(path, true);
    EXPECT_TRUE(file.Append("one\n"));
    EXPECT_EQ(ReadFile(path), "one\n");
  }
  AppendFile file(path);
  EXPECT_TRUE(file.Append("two\n"));
  EXPECT_EQ(ReadFile(path), "one\ntwo\n");
  EXPECT_NO_THROW(file.Finish());
  EXPECT_THAT([&] { AppendFile(path, true); },
              ThrowsMessage<Error>(HasSubstr("expected a file that can be written, got")));
}

TEST(AppendFileTest, KeepsWhatTheDiskDoesNotTake) {
  AppendFile file("/dev/full");
  EXPECT_FALSE(file.Append("one\n"));
  EXPECT_FALSE(file.Append("two\n"));
  EXPECT_THAT([&] { file.Finish(); },
              ThrowsMessage<Error>(AllOf(HasSubstr("[/dev/full]"), HasSubstr("No space left"))));
}

TEST(ProcessTest, ResidentMemoryCountsTouchedPages) {
  constexpr size_t kBytes = 64'000'000;
  const int64_t before = ResidentBytes();
  const std::vector<char> memory(kBytes, 1);
  EXPECT_EQ(memory.back(), 1);
  EXPECT_NEAR(static_cast<double>(ResidentBytes() - before), kBytes, 0.25 * kBytes);
}

}  // namespace
}  // namespace sophia
