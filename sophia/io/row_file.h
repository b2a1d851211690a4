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
// by several threads if need be. Those of a Parquet file (.parquet) are kept as JSON in an unnamed
// temporary file, since Parquet's own order of bytes has no place for a row alone.
class RowFile {
 public:
  // Throws Error for a file that is missing or has more than 4 GiB in one row, and for a Parquet
  // file that cannot be read or for whose rows there is no room.
  explicit RowFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  // The text of the rows.
  const RandomAccessFile& file() const { return file_; }
  size_t size() const { return rows_.size(); }
  // "rows.jsonl:3", or "rows.json, row 3" of an array and of Parquet.
  std::string Where(size_t row) const;
  // Throws Error naming Where(row).
  Row Get(size_t row) const;
  // By ParsePromptRow.
  Row GetPrompt(size_t row) const;

 private:
  void FindRows();
  Json Read(size_t row) const;

  std::filesystem::path path_;
  std::vector<RowPlace> rows_;
  RandomAccessFile file_;
  bool has_lines_ = true;
};

// All rows of a file; Error when there is none.
std::vector<Row> ReadRows(const std::filesystem::path& path);

}  // namespace sophia::io
