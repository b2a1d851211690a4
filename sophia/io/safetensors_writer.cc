#include <algorithm>
#include <array>
#include <numeric>
#include <tuple>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/base/json.h"
#include "sophia/io/safetensors.h"

namespace sophia::io {
namespace {

// Data order of the reference implementation: wider elements first, so that all stay aligned.
constexpr std::array<DType, 15> kDataOrder = {
    DType::kU64,      DType::kS64,    DType::kF64, DType::kF32, DType::kU32,
    DType::kS32,      DType::kBF16,   DType::kF16, DType::kU16, DType::kS16,
    DType::kF8E4M3FN, DType::kF8E5M2, DType::kS8,  DType::kU8,  DType::kBool,
};

auto OrderKey(const NamedShape& tensor) {
  const auto it = std::ranges::find(kDataOrder, tensor.shape.dtype);
  SOPHIA_CHECK(it != kDataOrder.end(), "safetensors has no {}", Name(tensor.shape.dtype));
  return std::tuple(it - kDataOrder.begin(), std::string_view(tensor.name));
}

std::vector<NamedShape> InDataOrder(std::vector<NamedShape> tensors) {
  std::ranges::sort(tensors, {}, OrderKey);
  return tensors;
}

std::vector<NamedShape> ShapesOf(std::span<const TensorView> tensors) {
  std::vector<NamedShape> shapes;
  for (const TensorView& tensor : tensors) {
    SOPHIA_CHECK(static_cast<int64_t>(tensor.bytes.size()) == tensor.shape.bytes(),
                 "{}: {} bytes for {}", tensor.name, tensor.bytes.size(), ToString(tensor.shape));
    shapes.push_back({tensor.name, tensor.shape});
  }
  return shapes;
}

// Length, JSON text and padding.
std::string Header(const std::vector<NamedShape>& order, const StringMap& metadata) {
  std::string text = "{";
  if (!metadata.empty()) text += "\"__metadata__\":" + Dump(Json(metadata)) + ",";
  int64_t begin = 0;
  for (const NamedShape& tensor : order) {
    const int64_t end = begin + tensor.shape.bytes();
    Json entry;
    entry["dtype"] = Info(tensor.shape.dtype).safetensors;
    entry["shape"] = tensor.shape.dims;
    entry["data_offsets"] = {begin, end};
    text += Dump(Json(tensor.name)) + ":" + Dump(entry) + ",";
    begin = end;
  }
  if (text.back() == ',') text.pop_back();
  text += "}";
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string length(sizeof(uint64_t), '\0');
  for (size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<char>(uint64_t{text.size()} >> (8 * i));
  }
  return length + text;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::vector<NamedShape> tensors, const StringMap& metadata)
    : order_(InDataOrder(std::move(tensors))), file_(path) {
  for (size_t i = 0; i < order_.size(); ++i) {
    SOPHIA_CHECK(order_[i].name != "__metadata__", "a reserved name");
    bytes_left_ += order_[i].shape.bytes();
  }
  std::vector<std::string_view> names;
  for (const NamedShape& tensor : order_) names.push_back(tensor.name);
  std::ranges::sort(names);
  SOPHIA_CHECK(std::ranges::adjacent_find(names) == names.end(), "a tensor name comes twice");
  file_.Write(Header(order_, metadata));
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::span<const TensorView> tensors, const StringMap& metadata)
    : SafetensorsWriter(path, ShapesOf(tensors), metadata) {
  std::map<std::string_view, const TensorView*> views;
  for (const TensorView& tensor : tensors) views[tensor.name] = &tensor;
  for (const NamedShape& shape : order_) Append(views.at(shape.name)->bytes);
}

void SafetensorsWriter::Append(std::span<const std::byte> bytes) {
  bytes_left_ -= static_cast<int64_t>(bytes.size());
  SOPHIA_CHECK(bytes_left_ >= 0, "{} bytes more than the tensors declared", -bytes_left_);
  file_.Write(bytes);
}

void SafetensorsWriter::Close() {
  SOPHIA_CHECK(bytes_left_ == 0, "{} bytes of tensor data are missing", bytes_left_);
  file_.Close();
}

void SafetensorsWriter::Commit() {
  Close();
  file_.Commit();
}

void WriteSafetensors(const std::filesystem::path& path, const std::vector<TensorView>& tensors,
                      const StringMap& metadata) {
  SafetensorsWriter(path, tensors, metadata).Commit();
}

}  // namespace sophia::io
