#pragma once

#include <cstdint>
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
  Json messages;  // [{role, content, ...}], at least one; no content is a list of parts
  Json tools;     // list of JSON schemas, or null
};

// Both are strings or both are message lists; of ParsePromptRow, `completion` may be null.
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

// A text in pieces that says itself which of them are learnt.
struct SegmentsRow {
  struct Segment {
    std::string text;
    bool learnt;
  };
  std::vector<Segment> segments;
};

using Row = std::variant<TextRow, ChatRow, PromptCompletionRow, TokensRow, SegmentsRow>;

// Detects the form of a row by its keys; further keys are ignored. A message's content in parts,
// [{"type": "text", "text"}, ...], becomes their texts behind each other. Throws Error naming
// `where`, the keys found and the forms accepted, and for rows of preferences what they would need.
Row ParseRow(const Json& json, std::string_view where);

// The same for a row that is to be answered: the answer may be missing. Then a conversation ends
// before it, and a `completion` is null.
Row ParsePromptRow(const Json& json, std::string_view where);

}  // namespace sophia::io
