#include <algorithm>
#include <string_view>

#include "sophia/io/gguf.h"
#include "sophia/io/safetensors.h"
#include "sophia/io/tensor_source.h"

namespace sophia::io {

std::unique_ptr<TensorSource> OpenTensors(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) {
    const MappedFile file(path);
    const auto bytes = file.bytes();
    const std::string_view start(reinterpret_cast<const char*>(bytes.data()),
                                 std::min<size_t>(bytes.size(), 4));
    if (start == "GGUF" || path.extension() == ".gguf") return std::make_unique<GgufFile>(path);
  }
  return std::make_unique<SafetensorsFile>(path);
}

}  // namespace sophia::io
