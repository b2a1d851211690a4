#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/base/file.h"
#include "sophia/io/rows.h"

namespace sophia::io {

// Where a row's JSON lies in its file.
struct RowPlace {
  uint64_t begin = 0;
  uint32_t length = 0;
  uint32_t number = 0;  // its line or, in an array, its number; from 1
};

// Finds the rows of a file that comes in pieces: JSON lines, or one JSON array of objects. A byte
// order mark, CRLF and blank lines are tolerated. What a row holds is not looked at.
class RowFinder {
 public:
  explicit RowFinder(std::string where) : where_(std::move(where)) {}

  // The next bytes of the file; the first piece has at least three, if the file does.
  void Add(std::string_view piece);
  // All rows, after the last piece. Throws Error for an array that does not end, and for text
  // behind it.
  std::vector<RowPlace> Finish();

  bool is_array() const { return state_ == State::kArray || state_ == State::kBehindArray; }

 private:
  enum class State : uint8_t { kStart, kLines, kArray, kBehindArray };

  void AddStart(std::string_view& piece);
  void AddLines(std::string_view piece);
  void AddArray(std::string_view& piece);
  void Push(uint64_t end);

  std::string where_;
  State state_ = State::kStart;
  std::vector<RowPlace> rows_;
  uint64_t offset_ = 0;  // of the piece that comes next
  uint64_t line_ = 1;
  std::optional<uint64_t> begin_;  // of the row that is open
  int64_t depth_ = 0;              // of brackets within the array
  bool in_text_ = false;
  bool escaped_ = false;
  bool after_comma_ = false;
};

// A file of rows of which only the places are in memory. Rows are read and parsed when asked for,
// by several threads if need be.
class RowFile {
 public:
  // Throws Error for a file that is missing or has more than 4 GiB in one row.
  explicit RowFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const RandomAccessFile& file() const { return file_; }
  size_t size() const { return rows_.size(); }
  // "rows.jsonl:3", or "rows.json, row 3" of an array.
  std::string Where(size_t row) const;
  // Throws Error naming Where(row).
  Row Get(size_t row) const;
  // By ParsePromptRow.
  Row GetPrompt(size_t row) const;

 private:
  Json Read(size_t row) const;

  RandomAccessFile file_;
  std::vector<RowPlace> rows_;
  bool is_array_ = false;
};

// All rows of a file; Error when there is none.
std::vector<Row> ReadRows(const std::filesystem::path& path);

// The files of a folder that train and check a model, as mlx-lm and datasets name them: train.jsonl
// (or .json) and valid.jsonl or validation.jsonl. A file stands for itself.
struct DataFiles {
  std::filesystem::path train;
  std::optional<std::filesystem::path> valid;
};
// Throws Error for a folder without train.jsonl.
DataFiles FindDataFiles(const std::filesystem::path& path);
// The file itself, or a folder's valid.jsonl. Throws Error for a folder without.
std::filesystem::path FindEvaluationFile(const std::filesystem::path& path);

}  // namespace sophia::io
