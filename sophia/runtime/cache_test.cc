#include "sophia/runtime/cache.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

#include "sophia/base/file.h"

namespace sophia {
namespace {

namespace fs = std::filesystem;
using ::testing::UnorderedElementsAre;

constexpr size_t kDigest = 64;

std::string Key(char letter) { return std::string(kDigest, letter); }

// A program's text of `bytes` bytes in the cache's file.
std::string Text(char letter, int64_t bytes) {
  return std::string(static_cast<size_t>(bytes) - kDigest, letter);
}

// Makes a file of the folder look as if last used so long ago.
void Age(const fs::path& path, std::chrono::minutes age) {
  fs::last_write_time(path, fs::file_time_type::clock::now() - age);
}

std::vector<std::string> Names(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename());
  }
  return names;
}

TEST(CompileCacheBoundTest, RemovesTheLeastRecentlyUsed) {
  const TemporaryFolder folder;
  const CompileCache cache(folder.path(), 3000);
  const std::string letters = "abc";
  for (size_t i = 0; i < letters.size(); ++i) {
    cache.Store(Key(letters[i]), Text(letters[i], 1000));
    Age(folder.path() / Key(letters[i]), std::chrono::minutes(10 - i));
  }
  EXPECT_EQ(cache.CountUsage().programs, 3);
  EXPECT_EQ(cache.CountUsage().bytes, 3000);
  EXPECT_EQ(cache.Load(Key('a')), Text('a', 1000));  // now the most recently used
  cache.Store(Key('d'), Text('d', 1500));
  EXPECT_THAT(Names(folder.path()), UnorderedElementsAre(Key('a'), Key('d')));
  EXPECT_EQ(cache.Load(Key('b')), std::nullopt);
  EXPECT_EQ(cache.Load(Key('d')), Text('d', 1500));
}

TEST(CompileCacheBoundTest, AProgramBeyondTheBoundIsNotKept) {
  const TemporaryFolder folder;
  const CompileCache cache(folder.path(), 1000);
  cache.Store(Key('a'), Text('a', 1000));
  cache.Store(Key('b'), Text('b', 1001));
  EXPECT_THAT(Names(folder.path()), UnorderedElementsAre(Key('a')));
}

TEST(CompileCacheBoundTest, LeavesOtherFilesAndFreshTemporariesAlone) {
  const TemporaryFolder folder;
  const CompileCache cache(folder.path(), 1000);
  const std::string stale = Key('a') + ".1.tmp";
  const std::string fresh = Key('b') + ".2.tmp";
  for (const std::string& name : {std::string("notes.txt"), stale, fresh}) {
    WriteFile(folder.path() / name, std::string(5000, 'x'));
  }
  Age(folder.path() / "notes.txt", std::chrono::hours(24));
  Age(folder.path() / stale, std::chrono::hours(2));
  cache.Store(Key('c'), Text('c', 1000));
  EXPECT_THAT(Names(folder.path()), UnorderedElementsAre("notes.txt", fresh, Key('c')));
}

// Stores and loads; whatever is found must be whole. Returns the number of faults.
int UseTogether(const fs::path& folder, int rounds) {
  const CompileCache cache(folder, 4000);
  int faults = 0;
  for (int i = 0; i < rounds; ++i) {
    const char letter = static_cast<char>('a' + i % 6);
    cache.Store(Key(letter), Text(letter, 1000));
    const char other = static_cast<char>('a' + (i * 5 + 2) % 6);
    const auto found = cache.Load(Key(other));
    if (found && *found != Text(other, 1000)) ++faults;
  }
  return faults;
}

TEST(CompileCacheBoundTest, ProcessesShareAFolder) {
  const TemporaryFolder folder;
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) _exit(UseTogether(folder.path(), 300));
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }
  const CompileCache cache(folder.path(), 4000);
  cache.Store(Key('f'), Text('f', 1000));
  EXPECT_LE(cache.CountUsage().bytes, 4000);
  EXPECT_EQ(cache.CountUsage().programs, static_cast<int64_t>(Names(folder.path()).size()));
}

}  // namespace
}  // namespace sophia
