#include "sophia/base/durable.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/base/error.h"
#include "sophia/base/file.h"

namespace sophia {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(DurableTest, SyncsFilesAndFolders) {
  const TemporaryFolder folder;
  WriteFile(folder.path() / "file", "x");
  SyncToDisk(folder.path() / "file");
  SyncToDisk(folder.path());
  EXPECT_THAT([&] { SyncToDisk(folder.path() / "none"); },
              ThrowsMessage<Error>(HasSubstr("none] expected to open it for syncing")));
}

TEST(DurableTest, AFolderIsLockedOnceAtATime) {
  const TemporaryFolder folder;
  {
    const FolderLock lock(folder.path());
    EXPECT_THAT([&] { const FolderLock again(folder.path()); },
                ThrowsMessage<Error>(HasSubstr("that no other run writes into, got one in use")));
  }
  const FolderLock again(folder.path());
}

}  // namespace
}  // namespace sophia
