#pragma once

#include <span>
#include <string>
#include <string_view>

#include "sophia/train/encoded_rows.h"

namespace sophia::train {

// Tokens of one row.
struct RowStats {
  int32_t tokens = 0;   // before it is cut to max_length
  int32_t kept = 0;     // after
  int32_t trained = 0;  // of those kept
  bool has_prompt = false;
  bool is_whole = false;  // every label is learnt

  bool is_truncated() const { return kept < tokens; }
};
RowStats StatsOf(const EncodedRow& row);

// Tokens a row over all rows; percentiles by the nearest rank.
struct LengthReport {
  int64_t rows = 0;
  int64_t min = 0, median = 0, p95 = 0, max = 0;  // before cutting
  int64_t tokens = 0;                             // kept, of all rows
  int64_t trained = 0;
  int64_t truncated = 0;  // rows
  int64_t dropped = 0;    // rows without a trained token

  double trained_share() const {
    return tokens > 0 ? static_cast<double>(trained) / static_cast<double>(tokens) : 0;
  }
};
LengthReport ReportLengths(std::span<const RowStats> rows);
// Some lines for people, each with its end.
std::string ToText(const LengthReport& report);

// Throws Error naming `where` when no row has a trained token, or when rows have prompts and every
// token of all of them is trained.
void CheckMasks(std::span<const RowStats> rows, int64_t max_length, std::string_view where);

}  // namespace sophia::train
