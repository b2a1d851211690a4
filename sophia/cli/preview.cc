#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <numeric>

#include "sophia/cli/commands.h"
#include "sophia/models/model_files.h"
#include "sophia/models/model_plan.h"
#include "sophia/train/marked_text.h"
#include "sophia/train/row_stats.h"
#include "sophia/train/setup.h"

namespace sophia::cli {
namespace {

constexpr size_t kRowsAtOnce = 4096;

train::EncodedRows OpenRows(const Values& values) {
  const std::string model = values.NeedText("model_name_or_path");
  const std::vector<std::string> data = values.NeedTexts("data");
  const models::ModelFiles files = models::ModelFiles::OpenConfig(model);
  const models::ModelPlan plan(files.config(), files.config_name(),
                               std::make_unique<nn::ParamPolicy>(DType::kBF16));
  return {train::TrainFiles({data.begin(), data.end()}),
          train::EncoderFor(files, plan.model->sizes().vocab), values.Integer("max_length")};
}

void PrintRow(const train::EncodedRows& rows, size_t row, const train::Marks& marks) {
  const train::EncodedRow encoded = rows.Get(row);
  const train::RowStats stats = train::StatsOf(encoded);
  fmt::print("== {}: {} tokens{}, {} trained\n{}\n\n", rows.Where(row), stats.tokens,
             stats.is_truncated() ? fmt::format(" cut to {}", stats.kept) : "", stats.trained,
             train::MarkedText(encoded.example, rows.encoder(), marks));
}

}  // namespace

int RunPreview(const Values& values) {
  const train::EncodedRows rows = OpenRows(values);
  const bool is_terminal = isatty(fileno(stdout)) == 1;
  const train::Marks marks = is_terminal ? train::Marks{"\x1b[32m", "\x1b[0m"} : train::Marks{};
  const auto shown = static_cast<size_t>(values.Integer("rows"));
  for (size_t row = 0; row < std::min(shown, rows.size()); ++row) PrintRow(rows, row, marks);
  std::vector<train::RowStats> stats;
  for (size_t first = 0; first < rows.size(); first += kRowsAtOnce) {
    std::vector<size_t> some(std::min(rows.size() - first, kRowsAtOnce));
    std::iota(some.begin(), some.end(), first);
    for (const train::EncodedRow& row : rows.Get(some)) {
      stats.push_back(train::StatsOf(row));
    }
  }
  fmt::print("{}", train::ToText(train::ReportLengths(stats)));
  train::CheckMasks(stats, rows.max_length(), rows.Name());
  return 0;
}

}  // namespace sophia::cli
