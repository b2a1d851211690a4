// Quantising on load against bitsandbytes and NumPy (tests/fixtures/quant).
#include "sophia/quant/quantise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "sophia/base/error_for_test.h"
#include "sophia/io/safetensors.h"
#include "sophia/quant/unpack.h"
#include "tests/quant/host_parts.h"

namespace sophia::quant {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

const io::SafetensorsFile& Fixture(const std::string& name) {
  static const io::SafetensorsFile kNf4(SOPHIA_SOURCE_DIR "/tests/fixtures/quant/nf4.safetensors");
  static const io::SafetensorsFile kInt(SOPHIA_SOURCE_DIR "/tests/fixtures/quant/int.safetensors");
  return name == "nf4" ? kNf4 : kInt;
}

template <typename T>
std::span<const T> Stored(const io::SafetensorsFile& file, const std::string& name) {
  const std::span<const std::byte> bytes = file.Stored(name);
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}

std::vector<float> Floats(const io::SafetensorsFile& file, const std::string& name) {
  std::vector<float> values(static_cast<size_t>(file.Get(name).shape.elements()));
  file.Read(name, DType::kF32, std::as_writable_bytes(std::span(values)));
  return values;
}

HostParts Quantised(const PackedFormat& format, const io::SafetensorsFile& file,
                    const std::string& name) {
  const Dims& dims = file.Get(name).shape.dims;
  HostParts parts(format, dims);
  Quantise(format, dims, Floats(file, name), parts.bytes(), name);
  return parts;
}

// The nibble of one element, as packed_format.h says where it lies.
int NibbleOf(std::span<const uint8_t> codes, const Dims& dims, int64_t row, int64_t i) {
  const int64_t panel = PanelRows(dims[1]);
  const int64_t byte = i / panel * (panel / 2) + i % (panel / 2);
  const uint8_t pair = codes[static_cast<size_t>(byte * dims[0] + row)];
  return i % panel < panel / 2 ? pair & 15 : pair >> 4;
}

class Nf4Test : public ::testing::TestWithParam<const char*> {
 protected:
  const PackedFormat& format_ = *FindPackedFormat("nf4");
  const io::SafetensorsFile& file_ = Fixture("nf4");
  const std::string name_ = GetParam();
  const Dims dims_ = file_.Get(name_).shape.dims;
  const HostParts parts_ = Quantised(format_, file_, name_);
};

TEST_P(Nf4Test, HoldsTheBytesOfBitsandbytes) {
  const auto codes = Stored<uint8_t>(file_, name_ + ".codes");  // earlier element in the high half
  for (int64_t i = 0; i < Product(dims_); ++i) {
    const uint8_t pair = codes[static_cast<size_t>(i / 2)];
    ASSERT_EQ(NibbleOf(parts_.As<uint8_t>(0), dims_, i / dims_[1], i % dims_[1]),
              i % 2 == 0 ? pair >> 4 : pair & 15)
        << "element " << i;
  }
  const auto absmax = Stored<uint8_t>(file_, name_ + ".absmax");
  EXPECT_THAT(parts_.As<uint8_t>(1).first(absmax.size()), ElementsAreArray(absmax));
  EXPECT_THAT(parts_.As<float>(2),
              ElementsAreArray(Stored<float>(file_, name_ + ".nested_absmax")));
  EXPECT_THAT(parts_.As<float>(3),
              ElementsAreArray(Stored<float>(file_, name_ + ".nested_offset")));
}

TEST_P(Nf4Test, UnpacksToTheValuesOfBitsandbytes) {
  for (const auto& [suffix, dtype] :
       {std::pair{".f32", DType::kF32}, {".own", file_.Get(name_).shape.dtype}}) {
    const std::vector<float> got =
        parts_.Compute([&, as = dtype](Inputs p) -> Tensor { return Unpack(format_, p, as); });
    EXPECT_THAT(got, ElementsAreArray(Floats(file_, name_ + suffix))) << suffix;
  }
}

INSTANTIATE_TEST_SUITE_P(Weights, Nf4Test, ::testing::Values("one_group", "special", "bf16", "f16"),
                         [](const auto& test) { return std::string(test.param); });

TEST(QuantiseTest, Int8IsAsNumPySays) {
  const PackedFormat& format = *FindPackedFormat("int8");
  const HostParts parts = Quantised(format, Fixture("int"), "weight");
  EXPECT_THAT(parts.As<int8_t>(0), ElementsAreArray(Stored<int8_t>(Fixture("int"), "int8.codes")));
  EXPECT_THAT(parts.As<float>(1), ElementsAreArray(Stored<float>(Fixture("int"), "int8.scales")));
}

TEST(QuantiseTest, Int4IsAsNumPySays) {
  const PackedFormat& format = *FindPackedFormat("int4");
  const HostParts parts = Quantised(format, Fixture("int"), "weight");
  const auto codes = Stored<int8_t>(Fixture("int"), "int4.codes");
  const Dims dims = {5, 128};
  for (int64_t i = 0; i < Product(dims); ++i) {
    ASSERT_EQ(NibbleOf(parts.As<uint8_t>(0), dims, i / 128, i % 128) - 8,
              codes[static_cast<size_t>(i)])
        << "element " << i;
  }
  const auto scales = Stored<uint16_t>(Fixture("int"), "int4.scales");
  for (size_t i = 0; i < scales.size(); ++i) {
    EXPECT_EQ(parts.As<uint16_t>(1)[i % 2 * 5 + i / 2], scales[i]) << "group " << i;
  }
}

// Half a step of the coarsest code, relative to the group's largest value. To that, nf4 adds the
// error of its scale, and int4 may clip by what bf16 rounds off the scale.
TEST(QuantiseTest, EveryFormatUnpacksNearTheWeight) {
  const std::vector<float> weight = Floats(Fixture("int"), "weight");
  for (const auto& [name, step] :
       std::vector<std::pair<const char*, float>>{{"nf4", 0.2F},
                                                  {"int8", 0.004F},
                                                  {"int4", 0.076F},
                                                  {"int4_g32", 0.076F},
                                                  {"int4_g128", 0.076F}}) {
    const PackedFormat& format = *FindPackedFormat(name);
    const std::vector<float> got =
        Quantised(format, Fixture("int"), "weight").Compute([&](Inputs parts) -> Tensor {
          return Unpack(format, parts, DType::kF32);
        });
    const auto group = static_cast<size_t>(format.group > 0 ? format.group : 128);
    for (size_t first = 0; first < weight.size(); first += group) {
      float absmax = 0;
      for (size_t i = first; i < first + group; ++i) {
        absmax = std::max(absmax, std::fabs(weight[i]));
      }
      for (size_t i = first; i < first + group; ++i) {
        ASSERT_NEAR(got[i], weight[i], step * absmax + 1e-4F) << name << " element " << i;
      }
    }
  }
}

TEST(QuantiseTest, RefusesWhatDoesNotFit) {
  const std::vector<float> values(480, 1.0F);
  const auto quantise = [&](const char* name, const Dims& dims, std::span<const float> from) {
    HostParts parts(*FindPackedFormat(name), {8, 128});
    return MessageOf(
        [&] { Quantise(*FindPackedFormat(name), dims, from, parts.bytes(), "m: a.weight"); });
  };
  EXPECT_THAT(quantise("nf4", {5, 96}, values),
              HasSubstr("[m: a.weight] expected sizes [rows, in] with in a multiple of 64 for nf4, "
                        "got [5, 96]; int8, int4_g32 would fit"));
  std::vector<float> bad = values;
  bad[7] = std::nanf("");
  EXPECT_THAT(quantise("int8", {5, 96}, bad), HasSubstr("expected finite values to quantise, got "
                                                        "nan at element 7"));
}

}  // namespace
}  // namespace sophia::quant
