#include "sophia/io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "sophia/base/error_for_test.h"
#include "sophia/base/strings.h"
#include "sophia/io/tensors_for_test.h"

namespace sophia::io {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::string File(const std::string& header, size_t data_bytes) {
  return Bytes(uint64_t{header.size()}) + header + std::string(data_bytes, '\1');
}

std::string ErrorOfFile(const std::string& header, size_t data_bytes) {
  return ErrorOf<SafetensorsFile>(File(header, data_bytes));
}

TEST(SafetensorsTest, ReadsWhatTheReferenceWrote) {
  const SafetensorsFile file(WeightFixture("dtypes.safetensors"));
  const SafetensorsFile widened(WeightFixture("dtypes_f32.safetensors"));
  EXPECT_EQ(file.tensors().size(), 17u);
  EXPECT_EQ(file.metadata(), (StringMap{{"format", "pt"}}));
  EXPECT_EQ(file.Get("BF16").shape, (Shape{DType::kBF16, {2, 64}}));
  EXPECT_EQ(file.Get("F8_E4M3").storage, "F8_E4M3");
  EXPECT_EQ(file.Get("empty").shape, (Shape{DType::kS16, {0, 3}}));
  EXPECT_THAT(ReadAll<float>(file, "scalar é\n\"quoted\"", DType::kF32), ElementsAre(2.5f));
  for (const TensorInfo& info : widened.tensors()) {
    const auto expected = ReadAll<float>(widened, info.name, DType::kF32);
    const auto got = ReadAll<float>(file, info.name, DType::kF32);
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_TRUE(got[i] == expected[i] || (std::isnan(got[i]) && std::isnan(expected[i])))
          << info.name << "[" << i << "]: expected " << expected[i] << ", got " << got[i];
    }
  }
}

TEST(SafetensorsTest, WritesTheReferencesBytes) {
  const auto path = WeightFixture("dtypes.safetensors");
  const SafetensorsFile file(path);
  std::vector<TensorView> views;
  for (const TensorInfo& info : file.tensors()) {
    views.push_back({info.name, info.shape, file.Stored(info.name)});
  }
  std::ranges::reverse(views);
  const TemporaryFolder folder;
  WriteSafetensors(folder.path() / "y", views, file.metadata());
  EXPECT_TRUE(ReadFile(folder.path() / "y") == ReadFile(path));
}

TEST(SafetensorsTest, ReadsRows) {
  const SafetensorsFile file(WeightFixture("dtypes.safetensors"));
  const auto all = ReadAll<float>(file, "F32", DType::kF32);
  std::vector<float> row(32);
  file.ReadRows("F32", 1, 1, DType::kF32, std::as_writable_bytes(std::span(row)));
  EXPECT_TRUE(std::ranges::equal(row, std::span(all).subspan(32)));
  EXPECT_THROW(file.ReadRows("F32", 1, 2, DType::kF32, {}), InternalError);
}

TEST(SafetensorsTest, ReadingNamesWhatIsWrong) {
  const SafetensorsFile file(WeightFixture("dtypes.safetensors"));
  EXPECT_THAT(
      [&] { file.Get("emptu"); },
      ThrowsMessage<Error>(HasSubstr("expected a tensor 'emptu', got none of that name (did "
                                     "you mean 'empty'?)")));
  EXPECT_THAT(
      [&] { ReadAll<float>(file, "I8", DType::kF32); },
      ThrowsMessage<Error>(HasSubstr("I8] expected a tensor that converts to f32, got I8")));
  EXPECT_EQ(file.Find("emptu"), nullptr);
}

TEST(SafetensorsTest, RejectsBrokenHeaders) {
  const std::string entry = R"("dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  EXPECT_EQ(ErrorOfFile(R"({"a":{)" + entry + "}", 8), "no error");
  EXPECT_THAT(ErrorOf<SafetensorsFile>("abc"), HasSubstr("at least 8 bytes, got 3"));
  EXPECT_THAT(ErrorOf<SafetensorsFile>(Bytes(UINT64_MAX) + "{}"),
              HasSubstr("header of at most 2 bytes, got length 18446744073709551615"));
  EXPECT_THAT(ErrorOfFile("", 0), HasSubstr("starts with '{', got an empty one"));
  EXPECT_THAT(ErrorOfFile(" {}", 0), HasSubstr("got byte 0x20"));
  EXPECT_THAT(ErrorOfFile("{", 0), HasSubstr("expected valid JSON"));
  EXPECT_THAT(ErrorOfFile("{}x", 0), HasSubstr("expected valid JSON"));
  EXPECT_THAT(ErrorOfFile(std::string(100000, '['), 0), HasSubstr("starts with '{'"));
  EXPECT_THAT(ErrorOfFile("{\"a\":" + std::string(100000, '['), 0), HasSubstr("valid JSON"));
  EXPECT_THAT(ErrorOfFile(R"({"a":{)" + entry + R"(,"a":{)" + entry + "}", 8),
              HasSubstr("expected each key once, got 'a' twice"));
  EXPECT_THAT(ErrorOfFile(R"({"a":1})", 8), HasSubstr(": a] expected an object, got 1"));
  EXPECT_THAT(ErrorOfFile(R"({"__metadata__":{"n":1}})", 0),
              HasSubstr("expected 'n' to be a string, got 1"));
}

struct BadEntry {
  std::string entry;
  std::string message;
};

TEST(SafetensorsTest, RejectsBrokenEntries) {
  const BadEntry cases[] = {
      {R"("shape":[2],"data_offsets":[0,8])", "expected key 'dtype', got none"},
      {R"("dtype":"F5","shape":[2],"data_offsets":[0,8])", "C64, got \"F5\""},
      {R"("dtype":7,"shape":[2],"data_offsets":[0,8])", "C64, got 7"},
      {R"("dtype":"F4","shape":[3,1],"data_offsets":[0,8])", "whole bytes of elements of 4 bits"},
      {R"("dtype":"F6_E2M3","shape":[8],"data_offsets":[0,8])", "expected 6 bytes for F6_E2M3 [8]"},
      {R"("dtype":"F32","data_offsets":[0,8])", "expected key 'shape', got none"},
      {R"("dtype":"F32","shape":2,"data_offsets":[0,8])", "expected 'shape' to be a list, got 2"},
      {R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])", "got -2"},
      {R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])", "got 2.0"},
      {R"("dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8])", "2^63 - 1"},
      {R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8])", "fewer than 2^63"},
      {R"("dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,8])", "2^63 bytes"},
      {R"("dtype":"F32","shape":[3],"data_offsets":[0,8])", "expected 12 bytes for F32 [3], got 8"},
      {R"("dtype":"F32","shape":[2],"data_offsets":[0,8,9])", "expected 'data_offsets'"},
      {R"("dtype":"F32","shape":[2],"data_offsets":[8,0])", "with begin <= end, got [8,0]"},
      {R"("dtype":"F32","shape":[1],"data_offsets":[4,8])", "offset 0 (no holes), got 4"},
      {R"("dtype":"F32","shape":[1],"data_offsets":[0,4])",
       "expected 4 bytes of tensor data, got 8"},
      {R"("dtype":"F32","shape":[3],"data_offsets":[0,12])", "expected 12 bytes of tensor data"},
      {R"("dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],)"
       R"("data_offsets":[4,8])",
       ": b] expected data at offset 8 (no overlaps), got 4"},
  };
  for (const BadEntry& bad : cases) {
    EXPECT_THAT(ErrorOfFile("{\"a\":{" + bad.entry + "}}", 8), HasSubstr(bad.message)) << bad.entry;
  }
}

// Sizes as the reference implementation demands them.
TEST(SafetensorsTest, TypesWithoutAReaderAreListedAndRefusedWhenRead) {
  const std::pair<const char*, size_t> sizes[] = {
      {"F4", 2},          {"F6_E2M3", 3},     {"F6_E3M2", 3}, {"F8_E8M0", 4},
      {"F8_E4M3FNUZ", 4}, {"F8_E5M2FNUZ", 4}, {"C64", 32}};
  for (const auto& [dtype, bytes] : sizes) {
    SCOPED_TRACE(dtype);
    const TemporaryFolder folder;
    const fs::path path = folder.path() / "x.safetensors";
    WriteFile(path,
              File(fmt::format(R"({{"a":{{"dtype":"{}","shape":[2,2],"data_offsets":[0,{}]}},)"
                               R"("b":{{"dtype":"U8","shape":[1],"data_offsets":[{},{}]}}}})",
                               dtype, bytes, bytes, bytes + 1),
                   bytes + 1));
    const SafetensorsFile file(path);
    EXPECT_THAT(ReadAll<int32_t>(file, "b", DType::kS32), ElementsAre(1));
    EXPECT_EQ(file.Get("a").storage, dtype);
    EXPECT_EQ(file.Get("a").shape.dims, (Dims{2, 2}));
    EXPECT_EQ(file.Get("a").stored_bytes, static_cast<int64_t>(bytes));
    for (const DType as : {DType::kF32, DType::kU8}) {
      std::vector<std::byte> out(static_cast<size_t>(ByteSize(as, 4)));
      EXPECT_THAT([&] { file.Read("a", as, std::span(out)); },
                  ThrowsMessage<Error>(HasSubstr(fmt::format(
                      "a] expected a tensor that converts to {}, got {}", Name(as), dtype))));
    }
  }
}

// A folder with tensors a (f32[2]) in shard 1 and b (s32[1]) in shard 2.
class ShardedTest : public ::testing::Test {
 protected:
  ShardedTest() {
    const std::vector<float> a = {1, 2};
    const std::vector<int32_t> b = {3};
    WriteSafetensors(Path("s1.safetensors"),
                     {{"a", {DType::kF32, {2}}, std::as_bytes(std::span(a))}}, {{"format", "pt"}});
    WriteSafetensors(Path("s2.safetensors"),
                     {{"b", {DType::kS32, {1}}, std::as_bytes(std::span(b))}});
  }

  fs::path Path(const std::string& name) const { return folder_.path() / name; }
  void WriteIndex(const std::string& map) const {
    WriteFile(Path("model.safetensors.index.json"), R"({"metadata":{},"weight_map":)" + map + "}");
  }
  std::string OpenError() const {
    return MessageOf([&] { OpenTensors(folder_.path()); });
  }

 private:
  TemporaryFolder folder_;
};

TEST_F(ShardedTest, ReadsThroughTheIndex) {
  EXPECT_THAT(OpenError(), HasSubstr("expected model.safetensors or model.safetensors.index.json"));
  WriteIndex(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  const auto source = OpenTensors(Path(""));
  EXPECT_EQ(source->tensors().size(), 2u);
  EXPECT_THAT(ReadAll<float>(*source, "a", DType::kF32), ElementsAre(1, 2));
  EXPECT_THAT(ReadAll<int64_t>(*source, "b", DType::kS64), ElementsAre(3));
}

TEST_F(ShardedTest, RejectsBrokenIndexes) {
  WriteIndex(R"({"a":"s1.safetensors","c":"s2.safetensors"})");
  EXPECT_THAT(OpenError(), HasSubstr("expected tensor 'c', which the index places here, got none"));
  WriteIndex(R"({"a":"../s1.safetensors"})");
  EXPECT_THAT(OpenError(), HasSubstr("expected a plain file name for 'a'"));
  WriteIndex(R"({"a":"..","b":""})");
  EXPECT_THAT(OpenError(), HasSubstr("expected a plain file name"));
  WriteIndex(R"({"a":"s3.safetensors"})");
  EXPECT_THAT(OpenError(), HasSubstr("s3.safetensors] expected a readable file"));
  WriteIndex(R"({"a":1})");
  EXPECT_THAT(OpenError(), HasSubstr("expected a file name for 'a', got 1"));
  WriteIndex("[]");
  EXPECT_THAT(OpenError(), HasSubstr("expected an object 'weight_map'"));
}

TEST(SafetensorsWriterTest, StreamsInPiecesAndLeavesNothingHalfWritten) {
  const TemporaryFolder folder;
  const std::vector<float> values = {1, 2, 3};
  const auto bytes = std::as_bytes(std::span(values));
  {
    SafetensorsWriter writer(folder.path() / "y",
                             {{"b", {DType::kU8, {4}}}, {"a", {DType::kF32, {2}}}}, {});
    EXPECT_EQ(writer.order()[0].name, "a");
    writer.Append(bytes.first(3));
    EXPECT_THROW(writer.Commit(), InternalError);
    EXPECT_THROW(writer.Append(bytes), InternalError);
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
  SafetensorsWriter writer(folder.path() / "y",
                           {{"b", {DType::kU8, {4}}}, {"a", {DType::kF32, {2}}}}, {});
  writer.Append(bytes.first(3));
  writer.Append(bytes.subspan(3));
  writer.Commit();
  const SafetensorsFile file(folder.path() / "y");
  EXPECT_THAT(ReadAll<float>(file, "a", DType::kF32), ElementsAre(1, 2));
}

TEST(SafetensorsFuzzTest, BrokenFilesGiveErrors) {
  const std::vector<std::string> valid = {
      ReadFile(WeightFixture("dtypes.safetensors")),
      File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
           R"("b":{"dtype":"BF16","shape":[1,2],"data_offsets":[4,8]}})",
           8)};
  const Mutator mutator(1, {"{", "}", "[", "]", "\"", ",", "-1", "0", "18446744073709551615", "1e9",
                            "null", "\"F32\"", "\"__metadata__\":", "\\ud800", "\xff"});
  FuzzTensorFile<SafetensorsFile>(valid, mutator);
}

}  // namespace
}  // namespace sophia::io
