#include "sophia/train/fingerprint.h"

#include <algorithm>
#include <numeric>

#include "sophia/base/sha256.h"

namespace sophia::train {
namespace {

constexpr size_t kSample = 4096;
constexpr size_t kPiece = size_t{1} << 20;
constexpr size_t kFirstRows = 64;

void AddIds(Sha256& hash, const std::vector<int32_t>& ids) {
  const auto count = static_cast<uint64_t>(ids.size());
  hash.Update(std::as_bytes(std::span(&count, 1)));
  hash.Update(std::as_bytes(std::span(ids)));
}

void AddExamples(Sha256& hash, const std::vector<Example>& examples) {
  for (const Example& example : examples) {
    AddIds(hash, example.ids);
    AddIds(hash, example.labels);
  }
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
  AddExamples(hash, dataset.examples);
  return hash.HexDigest();
}

std::string Fingerprint(const StreamedRows& rows) {
  Sha256 hash;
  std::string piece;
  for (const io::RowFile& rows_of_file : rows.rows().files()) {
    const RandomAccessFile& file = rows_of_file.file();
    for (size_t at = 0; at < file.size(); at += piece.size()) {
      piece.resize(std::min(kPiece, file.size() - at));
      file.Read(at, piece);
      hash.Update(piece);
    }
  }
  std::vector<size_t> first(std::min(rows.size(), kFirstRows));
  std::iota(first.begin(), first.end(), size_t{0});
  AddExamples(hash, rows.Get(first));
  return hash.HexDigest();
}

}  // namespace sophia::train
