#include "sophia/io/gguf.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/io/gguf_blocks.h"
#include "sophia/io/gguf_reader.h"

namespace sophia::io {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint32_t kMaxDims = 4;
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMinEntryBytes = 8 + 4 + 1;       // key length, type, smallest value
constexpr uint64_t kMinTensorBytes = 8 + 4 + 4 + 8;  // name length, rank, type, offset

struct RawTensor {
  std::string name;
  Dims dims;
  Storage storage;
  uint64_t offset;
  uint64_t bytes;
};

uint32_t ReadVersion(GgufReader& reader) {
  const auto magic = reader.Number<uint32_t>("magic");
  if (magic != kMagic) {
    reader.Fault("expected a GGUF file (magic 'GGUF'), got magic 0x{:08x}", magic);
  }
  const auto version = reader.Number<uint32_t>("version");
  if ((version & 0xffffu) == 0 && version != 0) {
    reader.Fault("expected a little-endian GGUF file, got a big-endian one");
  }
  if (version != 2 && version != 3) {
    reader.Fault("expected GGUF version 2 or 3, got {}", version);
  }
  return version;
}

uint64_t Alignment(const GgufMetadata& metadata, const std::string& where) {
  const int64_t alignment =
      metadata.FindOr<int64_t>("general.alignment", int64_t{kDefaultAlignment});
  if (alignment <= 0 || !std::has_single_bit(static_cast<uint64_t>(alignment))) {
    Fail(where, "expected general.alignment to be a power of two, got {}", alignment);
  }
  return static_cast<uint64_t>(alignment);
}

RawTensor ReadTensorInfo(GgufReader& reader) {
  RawTensor tensor;
  tensor.name = reader.String("tensor name");
  const auto rank = reader.Number<uint32_t>("tensor rank");
  if (rank > kMaxDims) {
    reader.Fault("expected tensor '{}' to have at most {} dimensions, got {}", tensor.name,
                 kMaxDims, rank);
  }
  for (uint32_t i = 0; i < rank; ++i) {
    const auto dim = reader.Number<uint64_t>("tensor dimension");
    if (!std::in_range<int64_t>(dim)) {
      reader.Fault("expected dimensions of '{}' below 2^63, got {}", tensor.name, dim);
    }
    tensor.dims.push_back(static_cast<int64_t>(dim));
  }
  std::reverse(tensor.dims.begin(), tensor.dims.end());
  const auto type = reader.Number<uint32_t>("tensor type");
  const std::optional<Storage> storage = GgufStorage(type);
  if (!storage) {
    reader.Fault("expected tensor '{}' in one of {}, got {}", tensor.name, SupportedGgufTypes(),
                 DescribeGgufType(type));
  }
  tensor.storage = *storage;
  tensor.offset = reader.Number<uint64_t>("tensor offset");
  tensor.bytes = static_cast<uint64_t>(
      StoredBytes(*storage, tensor.dims, reader.where() + ": " + tensor.name));
  return tensor;
}

// Checks that the tensors, sorted by offset, are aligned, in bounds and apart from each other.
void CheckPlaces(const std::vector<RawTensor>& tensors, uint64_t data_bytes, uint64_t alignment,
                 const std::string& where) {
  uint64_t end = 0;
  for (const RawTensor& tensor : tensors) {
    if (tensor.offset % alignment != 0) {
      Fail(where, "expected tensor '{}' at a multiple of {}, got offset {}", tensor.name, alignment,
           tensor.offset);
    }
    if (tensor.offset > data_bytes || tensor.bytes > data_bytes - tensor.offset) {
      Fail(where, "expected tensor '{}' ({} bytes at offset {}) within {} bytes of data",
           tensor.name, tensor.bytes, tensor.offset, data_bytes);
    }
    if (tensor.offset < end) {
      Fail(where, "expected tensor '{}' to start at {} or later, got overlapping offset {}",
           tensor.name, end, tensor.offset);
    }
    end = tensor.offset + tensor.bytes;
  }
}

}  // namespace

GgufFile::GgufFile(const std::filesystem::path& path)
    : TensorSource(path), metadata_(path.string()) {
  const MappedFile& file = Keep(MappedFile(path));
  GgufReader reader(file.bytes(), path.string());
  version_ = ReadVersion(reader);
  const uint64_t tensor_count = reader.Count("tensor count", kMinTensorBytes);
  const uint64_t entry_count = reader.Count("metadata count", kMinEntryBytes);
  for (uint64_t i = 0; i < entry_count; ++i) {
    std::string key = reader.String("metadata key");
    metadata_.Add(key, reader.Value(key));
  }
  std::vector<RawTensor> tensors;
  for (uint64_t i = 0; i < tensor_count; ++i) tensors.push_back(ReadTensorInfo(reader));

  const uint64_t alignment = Alignment(metadata_, path.string());
  const uint64_t padding = (alignment - reader.position() % alignment) % alignment;
  const uint64_t left = file.bytes().size() - reader.position();
  // A file without tensor data may end before the padding.
  const auto data = file.bytes().last(left - std::min(padding, left));
  std::ranges::stable_sort(
      tensors, {}, [](const RawTensor& tensor) { return std::pair(tensor.offset, tensor.bytes); });
  CheckPlaces(tensors, data.size(), alignment, path.string());
  for (RawTensor& tensor : tensors) {
    Add(std::move(tensor.name), std::move(tensor.dims), tensor.storage, file,
        data.subspan(tensor.offset, tensor.bytes));
  }
}

}  // namespace sophia::io
