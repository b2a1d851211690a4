#include "sophia/io/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "sophia/base/error.h"
#include "sophia/base/float_bits.h"
#include "sophia/io/safetensors.h"
#include "sophia/io/tensors_for_test.h"

namespace sophia::io {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::string Text(const std::string& text) { return Bytes(uint64_t{text.size()}) + text; }

std::string Key(const std::string& key, GgufType type) {
  return Text(key) + Bytes(static_cast<uint32_t>(type));
}

struct Parts {
  uint32_t version = 3;
  uint64_t tensor_count = 0;
  uint64_t entry_count = 0;
  std::string header;  // metadata and tensor infos
  std::string data;    // begins at a multiple of 32
};

std::string File(const Parts& parts) {
  std::string file = "GGUF" + Bytes(parts.version) + Bytes(parts.tensor_count) +
                     Bytes(parts.entry_count) + parts.header;
  if (!parts.data.empty()) file.resize((file.size() + 31) / 32 * 32);
  return file + parts.data;
}

std::string Tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type,
                   uint64_t offset) {
  std::string info = Text(name) + Bytes(static_cast<uint32_t>(dims.size()));
  for (uint64_t dim : dims) info += Bytes(dim);
  return info + Bytes(type) + Bytes(offset);
}

std::string ErrorOfFile(const Parts& parts) { return ErrorOf<GgufFile>(File(parts)); }

TEST(GgufTest, DequantisesEveryTypeToTheReferencesBits) {
  const GgufFile file(WeightFixture("types.gguf"));
  const SafetensorsFile expected(WeightFixture("types.safetensors"));
  ASSERT_EQ(file.tensors().size(), 18u);
  ASSERT_EQ(expected.tensors().size(), 18u);
  for (const TensorInfo& info : file.tensors()) {
    EXPECT_EQ(info.storage, info.name);
    const TensorInfo& want = expected.Get(info.name);
    EXPECT_EQ(info.shape.dims, want.shape.dims) << info.name;
    std::vector<std::byte> got(static_cast<size_t>(want.shape.bytes()));
    file.Read(info.name, want.shape.dtype, std::span(got));
    const auto want_bytes = expected.Stored(info.name);
    EXPECT_TRUE(std::ranges::equal(got, want_bytes)) << info.name;
  }
}

TEST(GgufTest, ReadsQuantisedRowsAsNarrowFloats) {
  const GgufFile file(WeightFixture("types.gguf"));
  for (const char* name : {"Q4_1", "Q3_K", "Q6_K"}) {
    const Shape& shape = file.Get(name).shape;
    const auto row = static_cast<size_t>(shape.dims[1]);
    const auto all = ReadAll<float>(file, name, DType::kF32);
    std::vector<uint16_t> bf16(2 * row);
    std::vector<uint16_t> f16(2 * row);
    file.ReadRows(name, 1, 2, DType::kBF16, std::as_writable_bytes(std::span(bf16)));
    file.ReadRows(name, 1, 2, DType::kF16, std::as_writable_bytes(std::span(f16)));
    for (size_t i = 0; i < 2 * row; ++i) {
      EXPECT_EQ(bf16[i], FloatToBf16(all[row + i])) << name;
      EXPECT_EQ(f16[i], FloatToF16(all[row + i])) << name;
    }
  }
}

TEST(GgufTest, ReadsMetadataOfEveryType) {
  const GgufFile file(WeightFixture("types.gguf"));
  const GgufMetadata& metadata = file.metadata();
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(metadata.Require<std::string>("general.architecture"), "test");
  EXPECT_EQ(metadata.Require<int64_t>("general.alignment"), 64);
  EXPECT_EQ(metadata.Require<int64_t>("n.u8"), 255);
  EXPECT_EQ(metadata.Require<int64_t>("n.s8"), -128);
  EXPECT_EQ(metadata.Require<int64_t>("n.u16"), 65535);
  EXPECT_EQ(metadata.Require<int64_t>("n.s16"), -32768);
  EXPECT_EQ(metadata.Require<int64_t>("n.u32"), 4294967295);
  EXPECT_EQ(metadata.Require<int64_t>("n.s32"), INT32_MIN);
  EXPECT_EQ(metadata.Require<int64_t>("n.s64"), INT64_MIN);
  EXPECT_EQ(metadata.Require<double>("n.u64"), 18446744073709551615.0);
  EXPECT_EQ(metadata.Require<double>("n.f32"), 0.5);
  EXPECT_EQ(metadata.Require<double>("n.f64"), 1e300);
  EXPECT_TRUE(metadata.Require<bool>("n.bool"));
  EXPECT_EQ(metadata.Require<std::string>("n.string"), "naïve 🙂");
  EXPECT_THAT(metadata.Require<std::vector<int64_t>>("a.int"), ElementsAre(1, -2, 3));
  EXPECT_THAT(metadata.Require<std::vector<double>>("a.float"), ElementsAre(0.5, -1.5));
  EXPECT_THAT(metadata.Require<std::vector<bool>>("a.bool"), ElementsAre(true, false));
  EXPECT_THAT(metadata.Require<std::vector<std::string>>("a.string"),
              ElementsAre("", "Ġthe", "日本"));
  const auto& nested = std::get<GgufValue::Array>(metadata.Find("a.nested")->value);
  ASSERT_EQ(nested.size(), 2u);
  EXPECT_THAT(std::get<std::vector<int64_t>>(nested[0].value), ElementsAre(1, 2));
}

TEST(GgufTest, MetadataErrorsNameKeyAndTypes) {
  const GgufFile file(WeightFixture("types.gguf"));
  const GgufMetadata& metadata = file.metadata();
  EXPECT_EQ(metadata.Find<int64_t>("n.none"), std::nullopt);
  EXPECT_EQ(metadata.FindOr<int64_t>("n.none", 7), 7);
  EXPECT_THAT(
      [&] { metadata.Require<bool>("n.none"); },
      ThrowsMessage<Error>(HasSubstr("expected metadata key 'n.none' (a boolean), got none")));
  EXPECT_THAT([&] { metadata.Find<int64_t>("n.u64"); },
              ThrowsMessage<Error>(HasSubstr("expected 'n.u64' to be a 64-bit integer, got u64")));
  EXPECT_THAT([&] { metadata.Find<std::vector<std::string>>("a.int"); },
              ThrowsMessage<Error>(HasSubstr("to be an array of strings, got array of s32")));
}

TEST(GgufTest, ReadsVersion2AndEmptyFiles) {
  EXPECT_EQ(ErrorOfFile({}), "no error");
  EXPECT_EQ(ErrorOfFile({.version = 2}), "no error");
  EXPECT_EQ(
      ErrorOfFile(
          {.tensor_count = 1, .header = Tensor("a", {2, 1}, 0, 0), .data = std::string(8, '\0')}),
      "no error");
  EXPECT_EQ(ErrorOfFile({.tensor_count = 1, .header = Tensor("a", {}, 0, 0), .data = "1234"}),
            "no error");
}

TEST(GgufTest, RejectsBrokenHeaders) {
  EXPECT_THAT(ErrorOf<GgufFile>(""), HasSubstr("expected 4 bytes of magic, got the last 0"));
  EXPECT_THAT(ErrorOf<GgufFile>("GGML12345678"), HasSubstr("expected a GGUF file"));
  EXPECT_THAT(ErrorOfFile({.version = 1}), HasSubstr("expected GGUF version 2 or 3, got 1"));
  EXPECT_THAT(ErrorOfFile({.version = 0x03000000}), HasSubstr("got a big-endian one"));
  EXPECT_THAT(ErrorOfFile({.tensor_count = UINT64_MAX}), HasSubstr("expected a tensor count that"));
  EXPECT_THAT(ErrorOfFile({.entry_count = UINT64_MAX}),
              HasSubstr("expected a metadata count that"));
  EXPECT_THAT(ErrorOfFile({.entry_count = 1, .header = Bytes(UINT64_MAX) + "abcdefgh"}),
              HasSubstr("expected a metadata key that fits the 8 bytes left"));
  EXPECT_THAT(ErrorOfFile({.entry_count = 1, .header = Text("k") + Bytes(13u)}),
              HasSubstr("expected 'k' to have a value type of 0 to 12, got 13"));
  EXPECT_THAT(ErrorOfFile({.entry_count = 1,
                           .header = Key("k", GgufType::kArray) + Bytes(8u) + Bytes(UINT64_MAX)}),
              HasSubstr("expected a k that fits the 0 bytes left, got 18446744073709551615"));
  const std::string flag = Key("k", GgufType::kBool) + "\1";
  EXPECT_THAT(ErrorOfFile({.entry_count = 2, .header = flag + flag}), HasSubstr("got 'k' twice"));
  EXPECT_THAT(ErrorOfFile({.entry_count = 1,
                           .header = Key("general.alignment", GgufType::kU32) + Bytes(48u)}),
              HasSubstr("expected general.alignment to be a power of two, got 48"));
}

TEST(GgufTest, RejectsDeeplyNestedArrays) {
  std::string nested = Key("k", GgufType::kArray);
  for (int i = 0; i < 100000; ++i) nested += Bytes(9u) + Bytes(uint64_t{1});
  EXPECT_THAT(ErrorOfFile({.entry_count = 1, .header = nested}),
              HasSubstr("expected 'k' to nest at most 8 arrays"));
}

struct BadTensors {
  std::vector<std::string> infos;
  std::string message;
};

TEST(GgufTest, RejectsBrokenTensors) {
  const BadTensors cases[] = {
      {{Tensor("a", {1, 1, 1, 1, 1}, 0, 0)}, "expected tensor 'a' to have at most 4 dimensions"},
      {{Tensor("a", {UINT64_MAX}, 0, 0)}, "expected dimensions of 'a' below 2^63"},
      {{Tensor("a", {1ull << 40, 1ull << 40}, 0, 0)}, "fewer than 2^63 elements"},
      {{Tensor("a", {1ull << 62}, 0, 0)}, "fewer than 2^63 bytes"},
      {{Tensor("a", {33}, 3, 0)}, "expected an innermost dimension in blocks of 32 (Q4_1)"},
      {{Tensor("a", {256}, 23, 0)}, "Q6_K, got IQ4_XS (type 23)"},
      {{Tensor("a", {256}, 99, 0)}, "Q6_K, got type 99"},
      {{Tensor("a", {17}, 0, 0)}, "expected tensor 'a' (68 bytes at offset 0) within 64 bytes"},
      {{Tensor("a", {1}, 0, 96)}, "(4 bytes at offset 96) within 64 bytes"},
      {{Tensor("a", {1}, 0, UINT64_MAX - 31)}, "within 64 bytes"},
      {{Tensor("a", {1}, 0, 4)}, "expected tensor 'a' at a multiple of 32, got offset 4"},
      {{Tensor("a", {9}, 0, 0), Tensor("b", {1}, 0, 32)}, "'b' to start at 36 or later"},
      {{Tensor("a", {1}, 0, 0), Tensor("a", {1}, 0, 32)}, "expected each tensor once, got 'a'"},
  };
  for (const BadTensors& bad : cases) {
    Parts parts{.tensor_count = bad.infos.size(), .data = std::string(64, '\0')};
    for (const std::string& info : bad.infos) parts.header += info;
    EXPECT_THAT(ErrorOfFile(parts), HasSubstr(bad.message));
  }
}

TEST(GgufTest, RejectsEveryTruncation) {
  const std::string whole = ReadFile(WeightFixture("types.gguf"));
  for (size_t size = 0; size < whole.size(); size += size < 2048 ? 7 : 997) {
    EXPECT_NE(ErrorOf<GgufFile>(whole.substr(0, size)), "no error") << size;
  }
}

TEST(GgufTest, RefusesRowsThatSplitBlocks) {
  const MemoryFile memory(
      File({.tensor_count = 1, .header = Tensor("a", {64}, 8, 0), .data = std::string(68, '\0')}));
  const GgufFile file(memory.path());
  std::vector<float> out(1);
  EXPECT_THAT(
      [&] { file.ReadRows("a", 1, 1, DType::kF32, std::as_writable_bytes(std::span(out))); },
      ThrowsMessage<Error>(HasSubstr("expected rows in blocks of 32 (Q8_0)")));
}

TEST(OpenTensorsTest, TellsFormatsApart) {
  EXPECT_EQ(OpenTensors(WeightFixture("types.gguf"))->Get("Q4_K").storage, "Q4_K");
  EXPECT_EQ(OpenTensors(WeightFixture("types.safetensors"))->Get("Q4_K").storage, "F32");
  EXPECT_THROW(OpenTensors("/no/such/file.gguf"), Error);
}

TEST(SmolLm2Test, EveryTensorHasPlausibleValues) {
  const auto path =
      std::filesystem::path(SOPHIA_DEPS_DIR) / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf";
  const GgufFile file(path);
  EXPECT_EQ(file.metadata().Require<std::string>("general.architecture"), "llama");
  EXPECT_EQ(file.metadata().Require<std::vector<std::string>>("tokenizer.ggml.tokens").size(),
            49152u);
  EXPECT_EQ(file.Get("token_embd.weight").shape.dims, (Dims{49152, 576}));
  EXPECT_EQ(file.Get("blk.3.attn_k.weight").shape.dims, (Dims{192, 576}));
  int64_t elements = 0;
  for (const TensorInfo& info : file.tensors()) {
    const auto values = ReadAll<float>(file, info.name, DType::kF32);
    elements += info.shape.elements();
    double squares = 0;
    for (float value : values) squares += static_cast<double>(value) * value;
    const double rms = std::sqrt(squares / static_cast<double>(values.size()));
    EXPECT_TRUE(rms > 1e-3 && rms < 100) << info.name << " has rms " << rms;
  }
  EXPECT_EQ(elements, 134515008);
}

// Bytes of the file's pages that are resident in this process.
int64_t ResidentFileBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0;
  int64_t resident = 0;
  int64_t shared = 0;
  statm >> size >> resident >> shared;
  return shared * sysconf(_SC_PAGESIZE);
}

TEST(SmolLm2Test, ReadingReleasesThePagesOfTheFile) {
  const auto path =
      std::filesystem::path(SOPHIA_DEPS_DIR) / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf";
  const GgufFile file(path);
  std::vector<std::byte> out(static_cast<size_t>(49152) * 576 * 4);
  const int64_t before = ResidentFileBytes();
  for (const TensorInfo& info : file.tensors()) {
    const auto part = std::span(out).first(static_cast<size_t>(info.shape.bytes()));
    file.Read(info.name, DType::kF32, part);
  }
  const int64_t grown = ResidentFileBytes() - before;
  EXPECT_LT(grown, int64_t{20} << 20) << "of " << std::filesystem::file_size(path);
}

TEST(GgufFuzzTest, BrokenFilesGiveErrors) {
  const std::string small =
      File({.tensor_count = 2,
            .entry_count = 2,
            .header = Key("s", GgufType::kString) + Text("text") + Key("a", GgufType::kArray) +
                      Bytes(8u) + Bytes(uint64_t{2}) + Text("x") + Text("yz") +
                      Tensor("q", {32, 1}, 3, 0) + Tensor("f", {2}, 0, 32),
            .data = std::string(40, '\2')});
  const std::vector<std::string> valid = {ReadFile(WeightFixture("types.gguf")), small};
  const Mutator mutator(2,
                        {"GGUF", Bytes(9u), Bytes(uint64_t{1} << 62), Text("general.alignment")});
  FuzzTensorFile<GgufFile>(valid, mutator);
}

}  // namespace
}  // namespace sophia::io
