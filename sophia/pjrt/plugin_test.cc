#include "sophia/pjrt/plugin.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "sophia/base/file.h"
#include "sophia/pjrt/call.h"
#include "sophia/pjrt/executable.h"
#include "sophia/pjrt/test_support.h"

namespace sophia::pjrt {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;
using ::testing::StartsWith;

// Sets or (null) unsets a variable for the life of the object.
class ScopedEnvironment {
 public:
  ScopedEnvironment(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    Set(value);
  }
  ~ScopedEnvironment() { Set(before_ ? before_->c_str() : nullptr); }
  ScopedEnvironment(const ScopedEnvironment&) = delete;
  ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;

 private:
  void Set(const char* value) {
    if (value == nullptr) {
      unsetenv(name_);
    } else {
      setenv(name_, value, 1);
    }
  }

  const char* name_;
  std::optional<std::string> before_;
};

TEST(Plugin, LoadsAndTellsItsVersions) {
  const auto plugin = Plugin::Load(CpuPlugin());
  EXPECT_EQ(plugin->api_version().major_version, PJRT_API_MAJOR);
  EXPECT_GT(plugin->api_version().minor_version, 0);
  EXPECT_THAT(plugin->Attributes(), Contains(Key("stablehlo_current_version")));
  EXPECT_NE(plugin->FindExtension(PJRT_Extension_Type_FFI), nullptr);
  EXPECT_EQ(plugin->FindExtension(1000), nullptr);
}

TEST(Plugin, IdentityDiffersBetweenFiles) {
  PJRT_Api api = CopyOfApi();
  const TemporaryFolder folder;
  WriteFile(folder.path() / "a.so", "1");
  const auto first = Plugin::Wrap(&api, folder.path() / "a.so");
  const std::string before = first->Identity();
  EXPECT_EQ(first->Identity(), before);
  EXPECT_THAT(before, StartsWith("a.so modified "));
  WriteFile(folder.path() / "b.so", "2");
  EXPECT_NE(Plugin::Wrap(&api, folder.path() / "b.so")->Identity(), before);
  WriteFile(folder.path() / "a.so", "12");
  EXPECT_NE(first->Identity(), before);
}

TEST(Plugin, BuildIsThatOfEveryCopy) {
  PJRT_Api api = CopyOfApi();
  const TemporaryFolder folder;
  WriteFile(folder.path() / "a.so", "1");
  WriteFile(folder.path() / "b.so", "1");
  const auto first = Plugin::Wrap(&api, folder.path() / "a.so");
  EXPECT_EQ(first->Build(), Plugin::Wrap(&api, folder.path() / "b.so")->Build());
  EXPECT_THAT(first->Build(), StartsWith("1 bytes, PJRT API "));
  WriteFile(folder.path() / "b.so", "12");
  EXPECT_NE(first->Build(), Plugin::Wrap(&api, folder.path() / "b.so")->Build());
}

TEST(Plugin, MissingFileIsAnError) {
  EXPECT_EQ(MessageOf([] { Plugin::Load("/nowhere/plugin.so"); }),
            "[/nowhere/plugin.so] expected a PJRT plugin (a shared library), got no such file");
}

TEST(Plugin, LibraryThatIsNoPluginIsAnError) {
  EXPECT_THAT(MessageOf([] { Plugin::Load("/lib/x86_64-linux-gnu/libm.so.6"); }),
              EndsWith("got a library without the symbol GetPjrtApi"));
}

TEST(Plugin, TextFileIsAnError) {
  const TemporaryFolder folder;
  WriteFile(folder.path() / "plugin.so", "not a library");
  EXPECT_THAT(MessageOf([&] { Plugin::Load(folder.path() / "plugin.so"); }),
              AllOf(HasSubstr("expected a PJRT plugin"), HasSubstr("plugin.so: ")));
}

TEST(Plugin, OtherMajorVersionIsAnError) {
  PJRT_Api api = CopyOfApi();
  api.pjrt_api_version.major_version = 1;
  api.pjrt_api_version.minor_version = 2;
  EXPECT_EQ(MessageOf([&] { Plugin::Wrap(&api, "new.so"); }),
            "[new.so] expected a plugin of PJRT API 0.x, got 1.2");
}

TEST(Plugin, ShortFunctionTableIsAnError) {
  PJRT_Api api = CopyOfApi();
  api.struct_size = offsetof(PJRT_Api, PJRT_Compile);
  EXPECT_THAT(MessageOf([&] { Plugin::Wrap(&api, "old.so"); }),
              StartsWith("[old.so] expected a newer plugin"));
}

TEST(Plugin, CallsThatAnOlderPluginLacksAreRefused) {
  PJRT_Api api = CopyOfApi();
  api.struct_size = offsetof(PJRT_Api, PJRT_Client_TopologyDescription);
  const auto plugin = Plugin::Wrap(&api, "older.so");
  EXPECT_TRUE(Has<&PJRT_Api::PJRT_Executable_Fingerprint>(*plugin));
  EXPECT_FALSE(Has<&PJRT_Api::PJRT_Client_TopologyDescription>(*plugin));
  EXPECT_THAT(
      MessageOf([&] { Call<&PJRT_Api::PJRT_Executable_GetCompiledMemoryStats>(*plugin, {}); }),
      StartsWith("[PJRT_Executable_GetCompiledMemoryStats] UNIMPLEMENTED: expected a plugin that "
                 "offers this call, got one of PJRT API 0."));
}

TEST(FindPlugin, PrefersFlagThenEnvironmentThenDeps) {
  const TemporaryFolder folder;
  const auto flag = folder.path() / "flag.so";
  const auto variable = folder.path() / "variable.so";
  WriteFile(flag, "");
  WriteFile(variable, "");
  {
    const ScopedEnvironment set("SOPHIA_PJRT_PLUGIN", variable.c_str());
    EXPECT_EQ(FindPlugin({.path = flag}), flag);
    EXPECT_EQ(FindPlugin({}), variable);
  }
  const ScopedEnvironment unset("SOPHIA_PJRT_PLUGIN", nullptr);
  EXPECT_TRUE(std::filesystem::equivalent(FindPlugin({}), CpuPlugin()));
}

TEST(FindPlugin, LooksIntoPythonEnvironments) {
  const ScopedEnvironment unset("SOPHIA_PJRT_PLUGIN", nullptr);
  const TemporaryFolder folder;
  const ScopedEnvironment environment("VIRTUAL_ENV", folder.path().c_str());
  const auto plugins = folder.path() / "lib/python3.12/site-packages/jax_plugins";
  for (const char* name : {"xla_cuda12", "xla_cuda13"}) {
    std::filesystem::create_directories(plugins / name);
    WriteFile(plugins / name / "xla_cuda_plugin.so", "");
  }
  EXPECT_EQ(FindPlugin({.platform = "cuda"}), plugins / "xla_cuda13" / "xla_cuda_plugin.so");
}

TEST(PluginCandidates, ListLibtpusUsualPlacesInOrder) {
  const TemporaryFolder folder;
  const auto packages = folder.path() / "lib/python3.12/site-packages";
  std::filesystem::create_directories(packages);
  const ScopedEnvironment environment("VIRTUAL_ENV", folder.path().c_str());
  const ScopedEnvironment library("TPU_LIBRARY_PATH", "/opt/libtpu/libtpu.so");
  std::vector<std::filesystem::path> places = PluginCandidates("tpu");
  // What else this machine has: .deps of several folders first, Python packages later.
  EXPECT_THAT(places.front().native(), EndsWith("/.deps/plugins/libtpu.so"));
  const std::vector<std::filesystem::path> expected = {"/opt/libtpu/libtpu.so",
                                                       packages / "libtpu/libtpu.so",
                                                       "/lib/libtpu.so", "/usr/lib/libtpu.so"};
  std::erase_if(places, [&](const auto& path) {
    return std::find(expected.begin(), expected.end(), path) == expected.end();
  });
  EXPECT_EQ(places, expected);
  EXPECT_THAT(PluginCandidates("cuda"), Not(Contains("/opt/libtpu/libtpu.so")));
  const ScopedEnvironment unset("TPU_LIBRARY_PATH", nullptr);
  EXPECT_THAT(PluginCandidates("tpu"), Not(Contains("/opt/libtpu/libtpu.so")));
}

TEST(FindPlugin, ErrorsSayWhereItLooked) {
  const ScopedEnvironment unset("SOPHIA_PJRT_PLUGIN", nullptr);
  const TemporaryFolder folder;
  const ScopedEnvironment environment("VIRTUAL_ENV", folder.path().c_str());
  std::filesystem::create_directories(folder.path() / "lib/python3.12/site-packages");
  EXPECT_THAT(MessageOf([] { FindPlugin({.platform = "cuda"}); }),
              AllOf(StartsWith("[plugin] expected a PJRT plugin for cuda, got none"),
                    HasSubstr(".deps/plugins/pjrt_cuda.so"),
                    HasSubstr(folder.path().native() + "/lib/python3.12/site-packages/")));
  EXPECT_EQ(MessageOf([] { FindPlugin({.platform = "tqu"}); }),
            "[plugin] expected platform cpu, tpu or cuda, got tqu (did you mean 'tpu'?)");
  EXPECT_EQ(MessageOf([] { FindPlugin({.path = "/nowhere.so"}); }),
            "[plugin] expected a plugin's file, got /nowhere.so");
  const ScopedEnvironment bad("SOPHIA_PJRT_PLUGIN", "/nowhere.so");
  EXPECT_EQ(MessageOf([] { FindPlugin({}); }),
            "[SOPHIA_PJRT_PLUGIN] expected a plugin's file, got /nowhere.so");
}

TEST(NamedValues, RoundTripThroughPjrt) {
  const NamedValues values = {{"flag", true},
                              {"list", std::vector<int64_t>{1, 2}},
                              {"number", int64_t{-7}},
                              {"real", 0.5f},
                              {"text", std::string("a b")}};
  const auto raw = ToPjrt(values);
  EXPECT_EQ(FromPjrt(raw.data(), raw.size()), values);
  EXPECT_EQ(ToString(values.at("list")), "[1, 2]");
  EXPECT_EQ(ToString(values.at("flag")), "true");
}

// Resident bytes of the mappings of a file with these permissions, by Linux' smaps.
int64_t ResidentBytes(const std::filesystem::path& file, std::string_view permissions) {
  std::ifstream maps("/proc/self/smaps");
  int64_t kilobytes = 0;
  bool counts = false;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    std::string first;
    std::string second;
    words >> first >> second;
    if (first.back() != ':') {
      counts = second == permissions && line.ends_with(file.filename().string());
    } else if (counts && first == "Rss:") {
      kilobytes += std::stoll(second);
    }
  }
  return kilobytes * 1024;
}

TEST(PluginTest, DroppedCodeRunsAgain) {
  const Client& client = SharedCpuClient();
  const auto compile = [&] {
    LoadedExecutable::Compile(client, R"(
      func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
        %0 = stablehlo.add %x, %x : tensor<4xf32>
        return %0 : tensor<4xf32>
      })");
  };
  compile();
  const int64_t before = ResidentBytes(CpuPlugin(), "r-xp");
  EXPECT_GT(before, 20 << 20);
  client.plugin().DropCode();
  EXPECT_LT(ResidentBytes(CpuPlugin(), "r-xp"), before / 4);
  compile();
}

}  // namespace
}  // namespace sophia::pjrt
