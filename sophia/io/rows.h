#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "sophia/base/json.h"

namespace sophia::io {

struct TextRow {
  std::string text;
};

// From `messages`, ShareGPT's `conversations`, Alpaca's `instruction` or `question`/`answer`.
struct ChatRow {
  Json messages;  // [{role, content, ...}], at least one
  Json tools;     // list of JSON schemas, or null
};

// Both are strings or both are message lists.
struct PromptCompletionRow {
  Json prompt;
  Json completion;
  Json tools;  // list of JSON schemas, or null
};

struct TokensRow {
  std::vector<int64_t> input_ids;
  // Empty or as long as input_ids; -100 marks ignored positions.
  std::vector<int64_t> labels;
  // Empty or as long as input_ids; 0 or 1.
  std::vector<int64_t> attention_mask;
};

using Row = std::variant<TextRow, ChatRow, PromptCompletionRow, TokensRow>;

// Detects the form of a row by its keys; further keys are ignored. Throws Error naming `where`, the
// keys found and the forms accepted.
Row ParseRow(const Json& json, std::string_view where);

// Reads a data set row by row: JSON lines, or one JSON array of objects. A byte order mark, CRLF
// and blank lines are tolerated. Throws Error naming the file and the line, or the array's row.
class RowReader {
 public:
  explicit RowReader(const std::filesystem::path& path);

  // The next row, or nullopt at the end.
  std::optional<Row> Next();
  // Line (or, in an array, number) of the row that Next gave last; counted from 1.
  int64_t line() const { return line_; }

 private:
  std::filesystem::path path_;
  std::ifstream stream_;
  std::optional<Json> array_;
  int64_t line_ = 0;
};

// All rows of a file; Error when there is none.
std::vector<Row> ReadRows(const std::filesystem::path& path);

}  // namespace sophia::io
