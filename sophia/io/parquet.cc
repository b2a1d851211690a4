#include "sophia/io/parquet.h"

#include <dlfcn.h>

#include <stdexcept>

#include "sophia/base/error.h"

namespace sophia::io {
namespace {

namespace fs = std::filesystem;

OpenParquetFunction* LoadModule(const fs::path& file) {
  std::error_code ignored;
  const fs::path module =
      fs::read_symlink("/proc/self/exe", ignored).parent_path() / "sophia_parquet.so";
  void* library = dlopen(module.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* function = library == nullptr ? nullptr : dlsym(library, kOpenParquet);
  if (function == nullptr) {
    const char* reason = dlerror();
    Fail(file.string(), "expected sophia_parquet.so beside the program, to read Parquet, got: {}",
         reason == nullptr ? "unknown failure" : reason);
  }
  return reinterpret_cast<OpenParquetFunction*>(function);
}

}  // namespace

bool IsParquet(const fs::path& path) { return path.extension() == ".parquet"; }

std::unique_ptr<ParquetRows> OpenParquet(const fs::path& path) {
  static OpenParquetFunction* const kOpen = LoadModule(path);
  try {
    return std::unique_ptr<ParquetRows>(kOpen(path.c_str()));
  } catch (const std::runtime_error& error) {
    Fail(path.string(), "expected a Parquet file, got: {}", error.what());
  }
}

}  // namespace sophia::io
