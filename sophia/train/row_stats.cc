#include "sophia/train/row_stats.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "sophia/base/error.h"
#include "sophia/nn/loss.h"

namespace sophia::train {
namespace {

// The smallest value with at least this share of all at or below it.
int64_t NearestRank(const std::vector<int32_t>& sorted, double share) {
  const double rank = std::ceil(share * static_cast<double>(sorted.size()));
  return sorted[static_cast<size_t>(std::max(1.0, rank)) - 1];
}

}  // namespace

RowStats StatsOf(const EncodedRow& row) {
  return {.tokens = static_cast<int32_t>(row.tokens),
          .kept = static_cast<int32_t>(row.example.ids.size()),
          .trained = static_cast<int32_t>(TrainedTokens(row.example)),
          .has_prompt = row.has_prompt,
          .is_whole = std::ranges::count(row.example.labels, nn::kIgnoredLabel) == 0};
}

LengthReport ReportLengths(std::span<const RowStats> rows) {
  LengthReport report{.rows = static_cast<int64_t>(rows.size())};
  if (rows.empty()) return report;
  std::vector<int32_t> lengths;
  for (const RowStats& row : rows) {
    lengths.push_back(row.tokens);
    report.tokens += row.kept;
    report.trained += row.trained;
    report.truncated += row.is_truncated() ? 1 : 0;
    report.dropped += row.trained == 0 ? 1 : 0;
  }
  std::ranges::sort(lengths);
  report.min = lengths.front();
  report.median = NearestRank(lengths, 0.5);
  report.p95 = NearestRank(lengths, 0.95);
  report.max = lengths.back();
  return report;
}

std::string ToText(const LengthReport& report) {
  std::string rows = fmt::format("{}", report.rows);
  if (report.truncated > 0) rows += fmt::format(", {} cut to max_length", report.truncated);
  if (report.dropped > 0) {
    rows += fmt::format(", {} left out without a trained token", report.dropped);
  }
  return fmt::format(
      "rows           {}\n"
      "tokens a row   min {}, median {}, p95 {}, max {}\n"
      "trained        {} of {} tokens ({:.1f} %)\n",
      rows, report.min, report.median, report.p95, report.max, report.trained, report.tokens,
      100 * report.trained_share());
}

void CheckMasks(std::span<const RowStats> rows, int64_t max_length, std::string_view where) {
  const bool learns =
      std::ranges::any_of(rows, [](const RowStats& row) { return row.trained > 0; });
  if (!learns) {
    Fail(where, "expected a row with a trained token within {} tokens, got none in {} rows",
         max_length, rows.size());
  }
  const auto prompted = std::ranges::count_if(rows, &RowStats::has_prompt);
  const bool all_whole = std::ranges::all_of(
      rows, [](const RowStats& row) { return !row.has_prompt || row.is_whole; });
  if (prompted > 0 && all_whole) {
    Fail(where,
         "expected prompts that are not learnt, got {} rows with prompts and every token of theirs "
         "trained",
         prompted);
  }
}

}  // namespace sophia::train
