#include "sophia/io/row_file.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <memory>

#include "sophia/base/error.h"
#include "sophia/base/unnamed_file.h"
#include "sophia/io/parquet.h"

namespace sophia::io {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr size_t kPiece = size_t{1} << 20;

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

void CheckIsFile(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    Fail(path.string(), "expected a file of rows, got a folder");
  }
  if (!fs::exists(path, error)) {
    Fail(path.string(), "expected a file of rows that can be read, got none");
  }
}

RandomAccessFile OpenRows(const fs::path& path) {
  CheckIsFile(path);
  return RandomAccessFile(path);
}

constexpr uint64_t kMost = std::numeric_limits<uint32_t>::max();

RowPlace PlaceOf(uint64_t begin, uint64_t length, uint64_t number, std::string_view where) {
  if (length > kMost || number > kMost) {
    Fail(where, "expected rows of at most 4 GiB and at most 4294967295 of them, got more");
  }
  return {begin, static_cast<uint32_t>(length), static_cast<uint32_t>(number)};
}

// The JSON of a Parquet file's rows, and where it is.
RandomAccessFile StoreParquet(const fs::path& path, std::vector<RowPlace>& places) {
  CheckIsFile(path);
  const std::unique_ptr<ParquetRows> parquet = OpenParquet(path);
  UnnamedFile file(fmt::format("rows of {}", path.string()));
  std::vector<std::string> rows;
  const auto next = [&] {
    try {
      return parquet->Next(rows);
    } catch (const std::exception& error) {
      Fail(path.string(), "expected a Parquet file that can be read, got behind row {}: {}",
           places.size(), error.what());
    }
  };
  while (next()) {
    for (const std::string& row : rows) {
      places.push_back(PlaceOf(file.size(), row.size(), places.size() + 1, path.string()));
      file.Append(row);
    }
  }
  return file.Finish();
}

}  // namespace

void RowFinder::Push(uint64_t end) {
  const uint64_t number = is_array() ? rows_.size() + 1 : line_;
  rows_.push_back(PlaceOf(*begin_, end - *begin_, number, where_));
  begin_.reset();
}

void RowFinder::Add(std::string_view piece) {
  if (offset_ == 0 && piece.starts_with(kByteOrderMark)) {
    offset_ = kByteOrderMark.size();
    piece.remove_prefix(kByteOrderMark.size());
  }
  const uint64_t end = offset_ + piece.size();
  if (state_ == State::kStart) AddStart(piece);
  if (state_ == State::kLines) AddLines(piece);
  if (state_ == State::kArray) AddArray(piece);
  if (state_ == State::kBehindArray && !std::ranges::all_of(piece, IsSpace)) {
    Fail(where_, "expected valid JSON, got text behind the array of rows");
  }
  offset_ = end;
}

// Skips white space and looks whether the text opens an array.
void RowFinder::AddStart(std::string_view& piece) {
  while (!piece.empty() && IsSpace(piece.front())) {
    if (piece.front() == '\n') ++line_;
    piece.remove_prefix(1);
    ++offset_;
  }
  if (piece.empty()) return;
  state_ = piece.front() == '[' ? State::kArray : State::kLines;
  if (state_ != State::kArray) return;
  piece.remove_prefix(1);
  ++offset_;
}

void RowFinder::AddLines(std::string_view piece) {
  size_t at = 0;
  while (at < piece.size()) {
    const size_t newline = std::min(piece.find('\n', at), piece.size());
    if (!begin_) {
      const std::string_view line = piece.substr(at, newline - at);
      const auto first = std::ranges::find_if_not(line, IsSpace);
      if (first != line.end()) begin_ = offset_ + at + static_cast<size_t>(first - line.begin());
    }
    if (newline == piece.size()) return;
    if (begin_) Push(offset_ + newline);
    ++line_;
    at = newline + 1;
  }
}

// Leaves in `piece` what lies behind the array.
void RowFinder::AddArray(std::string_view& piece) {
  for (size_t i = 0; i < piece.size(); ++i) {
    const char c = piece[i];
    if (in_text_) {
      in_text_ = escaped_ || c != '"';
      escaped_ = !escaped_ && c == '\\';
      continue;
    }
    const bool ends = depth_ == 0 && c == ']';
    if (ends || (depth_ == 0 && c == ',')) {
      if (!begin_ && (!ends || after_comma_)) begin_ = offset_ + i;  // parsing reports it
      if (begin_) Push(offset_ + i);
      after_comma_ = true;
      if (!ends) continue;
      state_ = State::kBehindArray;
      piece.remove_prefix(i + 1);
      return;
    }
    if (!begin_ && !IsSpace(c)) begin_ = offset_ + i;
    in_text_ = c == '"';
    if (c == '{' || c == '[') ++depth_;
    if (c == '}' || c == ']') depth_ = std::max<int64_t>(0, depth_ - 1);
  }
  piece = {};
}

std::vector<RowPlace> RowFinder::Finish() {
  if (state_ == State::kArray) {
    Fail(where_, "expected valid JSON, got an array of rows that does not end");
  }
  if (begin_) Push(offset_);
  return std::move(rows_);
}

RowFile::RowFile(const fs::path& path)
    : path_(path), file_(IsParquet(path) ? StoreParquet(path, rows_) : OpenRows(path)) {
  if (IsParquet(path)) {
    has_lines_ = false;
  } else {
    FindRows();
  }
  rows_.shrink_to_fit();
}

void RowFile::FindRows() {
  RowFinder finder(path_.string());
  std::string piece;
  for (size_t at = 0; at < file_.size(); at += piece.size()) {
    piece.resize(std::min(kPiece, file_.size() - at));
    file_.Read(at, piece);
    finder.Add(piece);
  }
  has_lines_ = !finder.is_array();
  rows_ = finder.Finish();
}

std::string RowFile::Where(size_t row) const {
  return fmt::format("{}{}{}", path().string(), has_lines_ ? ":" : ", row ", rows_[row].number);
}

Json RowFile::Read(size_t row) const {
  std::string text(rows_[row].length, '\0');
  file_.Read(rows_[row].begin, text);
  return ParseJson(text, Where(row));
}

Row RowFile::Get(size_t row) const { return ParseRow(Read(row), Where(row)); }

Row RowFile::GetPrompt(size_t row) const { return ParsePromptRow(Read(row), Where(row)); }

std::vector<Row> ReadRows(const fs::path& path) {
  const RowFile file(path);
  if (file.size() == 0) Fail(path.string(), "expected at least one row, got none");
  std::vector<Row> rows;
  for (size_t i = 0; i < file.size(); ++i) rows.push_back(file.Get(i));
  return rows;
}

}  // namespace sophia::io
