#include "sophia/train/fingerprint.h"

#include <algorithm>

#include "sophia/base/sha256.h"

namespace sophia::train {
namespace {

constexpr size_t kSample = 4096;

void AddIds(Sha256& hash, const std::vector<int32_t>& ids) {
  const auto count = static_cast<uint64_t>(ids.size());
  hash.Update(std::as_bytes(std::span(&count, 1)));
  hash.Update(std::as_bytes(std::span(ids)));
}

}  // namespace

std::string Fingerprint(const models::ModelFiles& files) {
  const io::TensorSource& source = files.tensors();
  std::vector<const io::TensorInfo*> infos;
  for (const io::TensorInfo& info : source.tensors()) infos.push_back(&info);
  std::ranges::sort(infos, {}, [](const io::TensorInfo* info) { return info->name; });
  Sha256 hash;
  hash.Update(Dump(files.config()));
  for (const io::TensorInfo* info : infos) {
    hash.Update(Dump(Json{info->name, info->shape.dims, info->storage}));
    const std::span<const std::byte> bytes = source.Stored(info->name);
    hash.Update(bytes.first(std::min(bytes.size(), kSample)));
  }
  return hash.HexDigest();
}

std::string Fingerprint(const Dataset& dataset) {
  Sha256 hash;
  for (const Example& example : dataset.examples) {
    AddIds(hash, example.ids);
    AddIds(hash, example.labels);
  }
  return hash.HexDigest();
}

}  // namespace sophia::train
