#include "sophia/io/tensor_source.h"

#include <algorithm>
#include <array>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/io/convert.h"

namespace sophia::io {
namespace {

// Elements dequantised at a time: their floats stay in the first-level cache.
constexpr int64_t kScratchElements = 4096;
// Stored bytes read between two releases of pages.
constexpr int64_t kReleaseBytes = int64_t{4} << 20;

void DequantizeTo(const Storage& storage, const std::byte* blocks, int64_t count, DType as,
                  std::byte* out, std::string_view where) {
  std::array<float, kScratchElements> scratch;
  const int64_t step = kScratchElements / storage.block_elements;
  for (int64_t block = 0; block < count; block += step) {
    const int64_t now = std::min(step, count - block);
    storage.dequantize(blocks + block * storage.block_bytes, now, scratch.data());
    const int64_t elements = now * storage.block_elements;
    ConvertElements(DType::kF32, reinterpret_cast<const std::byte*>(scratch.data()), elements, as,
                    out, where);
    out += ByteSize(as, elements);
  }
}

}  // namespace

int64_t StoredBytes(const Storage& storage, const Dims& dims, std::string_view where) {
  int64_t elements = 1;
  for (int64_t dim : dims) {
    if (dim < 0 || __builtin_mul_overflow(elements, dim, &elements)) {
      Fail(where, "expected fewer than 2^63 elements, got shape {}", ToString(dims));
    }
  }
  const int64_t innermost = dims.empty() ? 1 : dims.back();
  if (innermost % storage.block_elements != 0) {
    Fail(where, "expected an innermost dimension in blocks of {} ({}), got shape {}",
         storage.block_elements, storage.name, ToString(dims));
  }
  int64_t bytes = 0;
  if (__builtin_mul_overflow(elements / storage.block_elements, storage.block_bytes, &bytes)) {
    Fail(where, "expected fewer than 2^63 bytes, got shape {}", ToString(dims));
  }
  return bytes;
}

const MappedFile& TensorSource::Keep(MappedFile file) {
  return *files_.emplace_back(std::make_unique<MappedFile>(std::move(file)));
}

void TensorSource::Add(std::string name, Dims dims, const Storage& storage, const MappedFile& file,
                       std::span<const std::byte> bytes) {
  if (!index_.emplace(name, infos_.size()).second) {
    Fail(file.path().string(), "expected each tensor once, got '{}' twice", name);
  }
  infos_.push_back({std::move(name),
                    {storage.dtype, std::move(dims)},
                    std::string(storage.name),
                    static_cast<int64_t>(bytes.size())});
  places_.push_back({storage, &file, bytes});
}

const TensorInfo* TensorSource::Find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &infos_[it->second];
}

size_t TensorSource::IndexOf(std::string_view name) const {
  const auto it = index_.find(name);
  if (it != index_.end()) return it->second;
  std::vector<std::string> names;
  for (const TensorInfo& info : infos_) names.push_back(info.name);
  Fail(path_.string(), "expected a tensor '{}', got none of that name{}", name,
       DidYouMean(name, names));
}

const TensorInfo& TensorSource::Get(std::string_view name) const { return infos_[IndexOf(name)]; }

void TensorSource::Read(std::string_view name, DType as, std::span<std::byte> out) const {
  const size_t index = IndexOf(name);
  ReadElements(index, 0, infos_[index].shape.elements(), as, out);
}

void TensorSource::ReadRows(std::string_view name, int64_t first, int64_t count, DType as,
                            std::span<std::byte> out) const {
  const size_t index = IndexOf(name);
  const Dims& dims = infos_[index].shape.dims;
  SOPHIA_CHECK(!dims.empty() && first >= 0 && count >= 0 && first <= dims[0] - count,
               "rows {}..{} of {}", first, first + count, ToString(infos_[index].shape));
  const int64_t row = Product(Dims(dims.begin() + 1, dims.end()));
  ReadElements(index, first * row, count * row, as, out);
}

void TensorSource::ReadElements(size_t index, int64_t first, int64_t count, DType as,
                                std::span<std::byte> out) const {
  const TensorInfo& info = infos_[index];
  const Place& place = places_[index];
  const Storage& storage = place.storage;
  const std::string where = fmt::format("{}: {}", place.file->path().string(), info.name);
  if (!storage.readable || !CanConvert(storage.dtype, as)) {
    Fail(where, "expected a tensor that converts to {}, got {}", Name(as), info.storage);
  }
  if (first % storage.block_elements != 0 || count % storage.block_elements != 0) {
    Fail(where, "expected rows in blocks of {} ({}), got elements {} to {}", storage.block_elements,
         storage.name, first, first + count);
  }
  SOPHIA_CHECK(static_cast<int64_t>(out.size()) == ByteSize(as, count),
               "{}: expected room for {} bytes, got {}", where, ByteSize(as, count), out.size());
  const int64_t blocks = count / storage.block_elements;
  const int64_t step = kReleaseBytes / storage.block_bytes;
  const auto all =
      place.bytes.subspan(static_cast<size_t>(first / storage.block_elements * storage.block_bytes),
                          static_cast<size_t>(blocks * storage.block_bytes));
  std::byte* target = out.data();
  for (int64_t block = 0; block < blocks; block += step) {
    const int64_t now = std::min(step, blocks - block);
    const std::byte* source = all.data() + block * storage.block_bytes;
    if (storage.dequantize != nullptr) {
      DequantizeTo(storage, source, now, as, target, where);
    } else {
      ConvertElements(storage.dtype, source, now, as, target, where);
    }
    target += ByteSize(as, now * storage.block_elements);
    // From the step before, so that a page shared by both goes too.
    const int64_t begin = std::max(block - step, int64_t{0}) * storage.block_bytes;
    const int64_t end = (block + now) * storage.block_bytes;
    place.file->Release(all.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
  }
}

std::span<const std::byte> TensorSource::Stored(std::string_view name) const {
  return places_[IndexOf(name)].bytes;
}

void TensorSource::Release(std::string_view name) const {
  const Place& place = places_[IndexOf(name)];
  place.file->Release(place.bytes);
}

}  // namespace sophia::io
