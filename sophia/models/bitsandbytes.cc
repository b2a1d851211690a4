#include "sophia/models/bitsandbytes.h"

#include <algorithm>
#include <array>

#include "sophia/base/error.h"
#include "sophia/base/rounding.h"
#include "sophia/base/strings.h"
#include "sophia/nn/module_path.h"
#include "sophia/quant/nf4.h"

namespace sophia::models {
namespace {

constexpr std::string_view kState = ".quant_state.bitsandbytes__nf4";
constexpr std::string_view kOtherState = ".quant_state.bitsandbytes__fp4";
constexpr std::string_view kAbsmax = ".absmax";
constexpr std::string_view kMap = ".quant_map";
constexpr std::string_view kNestedAbsmax = ".nested_absmax";
constexpr std::string_view kNestedMap = ".nested_quant_map";
constexpr auto kParts =
    std::to_array<std::string_view>({"", kAbsmax, kMap, kNestedAbsmax, kNestedMap, kState});

// The arrays of one weight.
class Arrays {
 public:
  Arrays(const io::TensorSource& source, std::string name)
      : source_(source), name_(std::move(name)) {}

  std::string where() const { return fmt::format("{}: {}", source_.path().string(), name_); }

  std::span<const std::byte> Bytes(std::string_view part, DType dtype, int64_t count) const {
    const io::TensorInfo* info = source_.Find(name_ + std::string(part));
    if (info == nullptr) Fail(where(), "expected '{}{}' beside it, got none", name_, part);
    if (info->shape.dtype != dtype || info->shape.elements() != count) {
      Fail(where(), "expected {} elements of {} in '{}', got {} of {}", count, Name(dtype),
           info->name, info->shape.elements(), Name(info->shape.dtype));
    }
    return source_.Stored(info->name);
  }

  std::vector<float> Floats(std::string_view part, int64_t count) const {
    Bytes(part, DType::kF32, count);
    std::vector<float> values(static_cast<size_t>(count));
    source_.Read(name_ + std::string(part), DType::kF32, std::span(values));
    return values;
  }

 private:
  const io::TensorSource& source_;
  std::string name_;
};

void CheckSize(const Json& state, std::string_view key, int64_t size, const std::string& where) {
  const auto got = Require<int64_t>(state, key, where);
  if (got != size) Fail(where, "expected a {} of {}, got {}", key, size, got);
}

void CheckFlag(const Json& config, std::string_view key, bool expected, std::string_view where) {
  const bool got = FindOr<bool>(config, key, false, where);
  if (got != expected) Fail(where, "expected {} {}, got {}", key, expected, got);
}

void CheckText(const Json& config, std::string_view key, std::string_view expected,
               std::string_view fallback, std::string_view where) {
  const auto got = FindOr<std::string>(config, key, std::string(fallback), where);
  if (got != expected) Fail(where, "expected {} {}, got '{}'", key, expected, got);
}

}  // namespace

bool BitsandbytesConfig::Skips(std::string_view module) const {
  return std::ranges::any_of(skipped, [&](const std::string& name) {
    return nn::EndsWithModule(module, name) || module.starts_with(name + ".");
  });
}

std::optional<BitsandbytesConfig> TakeBitsandbytesConfig(Json& config, std::string_view where) {
  const auto found = config.find("quantization_config");
  if (found == config.end()) return std::nullopt;
  const Json quantization = *found;
  config.erase("quantization_config");
  if (quantization.is_null()) return std::nullopt;
  const std::string inside = fmt::format("{}: quantization_config", where);
  CheckText(quantization, "quant_method", "bitsandbytes", "bitsandbytes", inside);
  CheckFlag(quantization, "load_in_4bit", true, inside);
  CheckFlag(quantization, "load_in_8bit", false, inside);
  CheckText(quantization, "bnb_4bit_quant_type", "nf4", "fp4", inside);
  CheckText(quantization, "bnb_4bit_quant_storage", "uint8", "uint8", inside);
  return BitsandbytesConfig{
      .is_nested = FindOr<bool>(quantization, "bnb_4bit_use_double_quant", false, inside),
      .skipped = FindOr<std::vector<std::string>>(quantization, "llm_int8_skip_modules",
                                                  {"lm_head"}, inside)};
}

std::optional<BitsandbytesWeight> FindBitsandbytesWeight(const io::TensorSource& source,
                                                         const std::string& name) {
  const io::TensorInfo* info = source.Find(name);
  if (info == nullptr || info->shape.dtype != DType::kU8) return std::nullopt;
  const Arrays arrays(source, name);
  const io::TensorInfo* text = source.Find(name + std::string(kState));
  if (text == nullptr) {
    const bool is_other = source.Find(name + std::string(kOtherState)) != nullptr;
    Fail(arrays.where(), "expected '{}{}' beside it, got {}", name, kState,
         is_other ? "fp4's" : "none");
  }
  const std::span<const std::byte> bytes = source.Stored(text->name);
  const std::string where = fmt::format("{}: {}", source.path().string(), text->name);
  const Json state = ParseJson({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, where);
  CheckText(state, "quant_type", "nf4", "", where);
  CheckSize(state, "blocksize", quant::kNf4Group, where);

  BitsandbytesWeight weight{.dims = Require<std::vector<int64_t>>(state, "shape", where)};
  constexpr int64_t kMost = int64_t{1} << 31;
  const auto is_size = [](int64_t size) { return size > 0 && size <= kMost; };
  if (weight.dims.size() != 2 || !std::ranges::all_of(weight.dims, is_size)) {
    Fail(where, "expected sizes [rows, in], got {}", ToString(weight.dims));
  }
  const int64_t elements = Product(weight.dims);
  const int64_t groups = CeilDiv(elements, quant::kNf4Group);
  weight.stored.codes = arrays.Bytes("", DType::kU8, CeilDiv(elements, int64_t{2}));
  if (!std::ranges::equal(arrays.Floats(kMap, 16), quant::Nf4Table())) {
    Fail(arrays.where(), "expected the table of NF4 in '{}{}', got others", name, kMap);
  }
  if (!state.contains("nested_blocksize")) {
    weight.stored.absmax = arrays.Bytes(kAbsmax, DType::kF32, groups);
    return weight;
  }
  CheckSize(state, "nested_blocksize", quant::kScaleGroup, where);
  weight.stored.absmax = arrays.Bytes(kAbsmax, DType::kU8, groups);
  weight.stored.nested_absmax = arrays.Floats(kNestedAbsmax, CeilDiv(groups, quant::kScaleGroup));
  weight.stored.nested_map = arrays.Floats(kNestedMap, 256);
  weight.stored.nested_offset = static_cast<float>(Require<double>(state, "nested_offset", where));
  return weight;
}

void ReleaseBitsandbytesWeight(const io::TensorSource& source, const std::string& name) {
  for (const std::string_view part : kParts) {
    const std::string array = name + std::string(part);
    if (source.Find(array) != nullptr) source.Release(array);
  }
}

std::vector<io::TensorInfo> WholeTensors(const io::TensorSource& source) {
  std::vector<io::TensorInfo> whole;
  for (const io::TensorInfo& info : source.tensors()) {
    const bool is_part = std::ranges::any_of(kParts, [&](std::string_view part) {
      if (part.empty() || !info.name.ends_with(part)) return false;
      const std::string name = info.name.substr(0, info.name.size() - part.size());
      return source.Find(name + std::string(kState)) != nullptr;
    });
    if (is_part) continue;
    const auto weight = FindBitsandbytesWeight(source, info.name);
    whole.push_back(info);
    if (!weight) continue;
    whole.back().storage = "NF4";
    whole.back().shape = {DType::kF32, weight->dims};
    whole.back().stored_bytes = 0;
    for (const std::string_view part : kParts) {
      const io::TensorInfo* array = source.Find(info.name + std::string(part));
      if (array != nullptr) whole.back().stored_bytes += array->stored_bytes;
    }
  }
  return whole;
}

}  // namespace sophia::models
