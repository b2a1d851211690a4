// sophia_parquet.so: the one place that sees Arrow.

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>

#include <memory>
#include <stdexcept>

#include "sophia/io/parquet.h"
#include "sophia/parquet/row_json.h"

namespace sophia::parquet {
namespace {

constexpr int64_t kRowsOfBatch = 256;

void Check(const arrow::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

template <typename T>
T Take(arrow::Result<T> result) {
  Check(result.status());
  return std::move(result).ValueUnsafe();
}

class Rows final : public io::ParquetRows {
 public:
  explicit Rows(const std::string& path) {
    ::parquet::ReaderProperties file;
    file.enable_buffered_stream();
    file.set_page_checksum_verification(true);
    ::parquet::ArrowReaderProperties reading(/*use_threads=*/false);
    reading.set_batch_size(kRowsOfBatch);
    reading.set_pre_buffer(false);
    ::parquet::arrow::FileReaderBuilder builder;
    Check(builder.Open(Take(arrow::io::ReadableFile::Open(path)), file));
    file_ = Take(builder.memory_pool(arrow::system_memory_pool())->properties(reading)->Build());
    batches_ = Take(file_->GetRecordBatchReader());
  }

  bool Next(std::vector<std::string>& rows) override {
    rows.clear();
    std::shared_ptr<arrow::RecordBatch> batch;
    do {
      Check(batches_->ReadNext(&batch));
    } while (batch != nullptr && batch->num_rows() == 0);
    if (batch == nullptr) return false;
    Check(batch->ValidateFull());
    for (int64_t i = 0; i < batch->num_rows(); ++i) rows.push_back(RowJson(*batch, i).dump());
    return true;
  }

 private:
  std::unique_ptr<::parquet::arrow::FileReader> file_;
  std::unique_ptr<arrow::RecordBatchReader> batches_;
};

}  // namespace
}  // namespace sophia::parquet

extern "C" __attribute__((visibility("default"))) sophia::io::ParquetRows* SophiaOpenParquet(
    const char* path) {
  return new sophia::parquet::Rows(path);
}
