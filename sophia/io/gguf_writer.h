#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "sophia/base/file.h"
#include "sophia/base/shape.h"
#include "sophia/io/gguf.h"

namespace sophia::io {

// Values of metadata, in the types that llama.cpp's converters write.
GgufValue GgufText(std::string text);
GgufValue GgufCount(uint64_t value);  // u32
GgufValue GgufNumber(double value);   // f32
GgufValue GgufFlag(bool value);
GgufValue GgufTexts(std::vector<std::string> texts);
GgufValue GgufIntegers(std::vector<int64_t> values);  // s32
GgufValue GgufNumbers(std::vector<double> values);    // f32

struct GgufTensor {
  std::string name;
  Dims dims;            // row-major, the reverse of the file's order
  std::string storage;  // "Q8_0"; whole blocks along the last dimension
};

// Writes a GGUF file, version 3, tensor by tensor:
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The file appears under its name at
// Commit(). Same input, same bytes.
class GgufWriter {
 public:
  // Throws Error when a tensor's sizes are not whole blocks of its storage.
  GgufWriter(const std::filesystem::path& path, const std::vector<GgufEntry>& metadata,
             std::vector<GgufTensor> tensors);

  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  // The bytes of the next tensor, whole.
  void Append(std::span<const std::byte> bytes);
  void Commit();

 private:
  std::vector<GgufTensor> tensors_;
  std::vector<int64_t> bytes_;  // of each tensor
  size_t next_ = 0;
  AtomicFile file_;
};

}  // namespace sophia::io
