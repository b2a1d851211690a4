#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "sophia/base/dtype.h"
#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/json.h"
#include "sophia/base/process.h"
#include "sophia/base/sha256.h"
#include "sophia/base/shape.h"
#include "sophia/base/strings.h"

namespace sophia {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(ErrorTest, NamesThePlace) {
  EXPECT_THAT([] { Fail("file.json", "expected {}, got {}", 1, 2); },
              ThrowsMessage<Error>("[file.json] expected 1, got 2"));
  EXPECT_THROW(SOPHIA_CHECK(1 == 2, "value {}", 3), InternalError);
}

TEST(DTypeTest, NamesRoundTrip) {
  for (int i = 0; i <= static_cast<int>(DType::kF64); ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(DTypeFromName(Name(dtype)), dtype);
    if (!Info(dtype).safetensors.empty()) {
      EXPECT_EQ(DTypeFromSafetensors(Info(dtype).safetensors), dtype);
    }
  }
  EXPECT_EQ(DTypeFromName("bfloat16"), DType::kBF16);
  EXPECT_EQ(DTypeFromName("quux"), std::nullopt);
  EXPECT_EQ(DTypeFromSafetensors(""), std::nullopt);
}

TEST(ShapeTest, CountsBytes) {
  EXPECT_EQ((Shape{DType::kBF16, {2, 3}}.bytes()), 12);
  EXPECT_EQ((Shape{DType::kS4, {3}}.bytes()), 2);
  EXPECT_EQ(ToString(Shape{DType::kF32, {2, 3}}), "f32[2, 3]");
  EXPECT_EQ((Shape{DType::kF32, {}}.elements()), 1);
}

TEST(StringsTest, SplitsJoinsAndTrims) {
  EXPECT_THAT(Split("a,b,,c", ','), ::testing::ElementsAre("a", "b", "", "c"));
  EXPECT_EQ(Join({"a", "b"}, ", "), "a, b");
  EXPECT_EQ(Trim(" \t a b\n"), "a b");
  EXPECT_EQ(ReplaceAll("aXbX", "X", "yy"), "ayybyy");
  EXPECT_EQ(HumanBytes(int64_t{1234567}), "1.23 MB");
  EXPECT_EQ(HumanBytes(999.0), "999 B");
  EXPECT_EQ(HumanBytes(int64_t{999'600'000}), "1 GB");
  EXPECT_EQ(HumanCount(2.5e12) + "FLOP/s", "2.5 TFLOP/s");
}

TEST(ProcessTest, NamesThisMachineAsTheKernelDoes) {
  std::string name;
  ASSERT_TRUE(std::ifstream("/proc/sys/kernel/hostname") >> name);
  EXPECT_EQ(HostName(), name);
}

TEST(StringsTest, SuggestsOnlyCloseWords) {
  EXPECT_EQ(Nearest("lora-rr", {"lora-r", "seed"}), "lora-r");
  EXPECT_EQ(Nearest("quantum", {"lora-r", "seed"}), std::nullopt);
  EXPECT_EQ(DidYouMean("sede", {"seed"}), " (did you mean 'seed'?)");
}

TEST(FileTest, MissingFileIsAnError) {
  EXPECT_THAT([] { ReadFile("/no/such/file"); },
              ThrowsMessage<Error>(HasSubstr("expected a readable file")));
  EXPECT_THROW(MappedFile("/"), Error);
}

TEST(FileTest, UncommittedWriteLeavesNothing) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.txt";
  {
    AtomicFile file(path);
    file.Write("half");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  WriteFile(path, "whole");
  EXPECT_EQ(ReadFile(path), "whole");
  const MappedFile mapped(path);
  mapped.Release(mapped.bytes());
  EXPECT_EQ(mapped.bytes().size(), 5u);
  EXPECT_EQ(static_cast<char>(mapped.bytes()[0]), 'w');
}

TEST(JsonTest, MalformedTextIsExplainedWithLineAndColumn) {
  EXPECT_THAT([] { ParseJson("{\"a\":\n1,}", "c.json"); },
              ThrowsMessage<Error>(testing::StartsWith(
                  "[c.json] expected valid JSON, got: parse error at line 2, column 3: ")));
}

TEST(JsonTest, TypedAccessNamesTheKey) {
  const Json json = ParseJson(R"({"a": 1, "b": "x", "n": null})", "c.json");
  EXPECT_EQ(Require<int64_t>(json, "a", "c.json"), 1);
  EXPECT_EQ(Require<double>(json, "a", "c.json"), 1.0);
  EXPECT_EQ(Find<bool>(json, "n", "c.json"), std::nullopt);
  EXPECT_THAT([&] { Require<int64_t>(json, "b", "c.json"); },
              ThrowsMessage<Error>("[c.json] expected 'b' to be an integer, got \"x\""));
  EXPECT_THAT([&] { Require<bool>(json, "zz", "c.json"); }, ThrowsMessage<Error>(HasSubstr("zz")));
  EXPECT_THROW(ParseJson("{", "c.json"), Error);
}

TEST(JsonTest, YamlScalarsFollowTheCoreSchema) {
  const Json json = ParseYaml("a: 1\nb: 2e-4\nc: 'true'\nd: true\ne: [q, v]\nf:\n", "c.yaml");
  EXPECT_EQ(json["a"], 1);
  EXPECT_EQ(json["b"], 2e-4);
  EXPECT_EQ(json["c"], "true");
  EXPECT_EQ(json["d"], true);
  EXPECT_EQ(json["e"].size(), 2u);
  EXPECT_TRUE(json["f"].is_null());
  EXPECT_THROW(ParseYaml("a: 1\na: 2\n", "c.yaml"), Error);
  EXPECT_THROW(ParseYaml("a: [1\n", "c.yaml"), Error);
}

TEST(StringsTest, Base64PadsAsRfc4648) {
  EXPECT_EQ(Base64(""), "");
  EXPECT_EQ(Base64("f"), "Zg==");
  EXPECT_EQ(Base64("foobar"), "Zm9vYmFy");
}

TEST(Sha256Test, KnownDigest) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace sophia
