#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "sophia/base/file.h"
#include "sophia/base/shape.h"
#include "sophia/io/tensor_source.h"

namespace sophia::io {

// The `__metadata__` map of a safetensors file.
using StringMap = std::map<std::string, std::string>;

// A safetensors file, or a folder that holds model.safetensors or model.safetensors.index.json with
// its shards: https://huggingface.co/docs/safetensors. A file must satisfy the format's rules: data
// without holes or overlaps, sizes that match dtype and shape, each name once. Tensors of F4, F6_*,
// F8_E8M0, F8_*FNUZ and C64 are listed and cannot be read.
class SafetensorsFile : public TensorSource {
 public:
  // Throws Error when a file is missing or broken; tensors of an index must be in its shards.
  explicit SafetensorsFile(const std::filesystem::path& path);

  // Of all shards together; the first shard wins.
  const StringMap& metadata() const { return metadata_; }

 private:
  void OpenShard(const std::filesystem::path& path, const std::vector<std::string>* wanted);
  void OpenIndex(const std::filesystem::path& index);

  StringMap metadata_;
};

struct NamedShape {
  std::string name;
  Shape shape;
};

struct TensorView {
  std::string name;
  Shape shape;
  std::span<const std::byte> bytes;
};

// Writes one safetensors file tensor by tensor, as the reference implementation lays it out:
// wider types first, then by name, with the data at a multiple of 8 bytes. Same input, same bytes.
// The file appears under its name at Commit().
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, std::vector<NamedShape> tensors,
                    const StringMap& metadata);
  // The same with all data appended.
  SafetensorsWriter(const std::filesystem::path& path, std::span<const TensorView> tensors,
                    const StringMap& metadata);

  // The order in which Append expects the data.
  const std::vector<NamedShape>& order() const { return order_; }
  // Appends bytes of the tensor that is due; a tensor may come in several pieces.
  void Append(std::span<const std::byte> bytes);
  // Ends the temporary file, in which every tensor must be complete. Throws Error.
  void Close();
  // Close(), if that is not done, and the file gets its name. Throws Error.
  void Commit();

 private:
  std::vector<NamedShape> order_;
  int64_t bytes_left_ = 0;
  AtomicFile file_;
};

// One-call form of SafetensorsWriter.
void WriteSafetensors(const std::filesystem::path& path, const std::vector<TensorView>& tensors,
                      const StringMap& metadata = {});

}  // namespace sophia::io
