#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace sophia::io {

// A Parquet file as rows of JSON, in their order. Memory holds one batch of them.
class ParquetRows {
 public:
  virtual ~ParquetRows() = default;

  // Fills `rows` with the JSON text of the next ones; false at the end. Columns are keys; within
  // structs null members are left out, since Parquet has every key in every struct. Throws
  // std::runtime_error with the reason for what cannot be read.
  virtual bool Next(std::vector<std::string>& rows) = 0;
};

// What sophia_parquet.so exports under the name kOpenParquet; throws as Next does. Its caller owns
// the result. (https://arrow.apache.org/docs/cpp/parquet.html)
using OpenParquetFunction = ParquetRows*(const char* path);
inline constexpr const char* kOpenParquet = "SophiaOpenParquet";

bool IsParquet(const std::filesystem::path& path);

// Loads sophia_parquet.so from beside this program, if that is not done. Throws Error naming the
// file to read and the reason when there is no such module or the file cannot be opened.
std::unique_ptr<ParquetRows> OpenParquet(const std::filesystem::path& path);

}  // namespace sophia::io
