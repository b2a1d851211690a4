#include "sophia/eval/report.h"

#include <algorithm>
#include <numeric>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"

namespace sophia::eval {
namespace {

constexpr size_t kGap = 2;

std::string NameOf(const Outcome& outcome) {
  if (!outcome.model.empty()) return outcome.model;
  return outcome.adapter.empty() ? "base" : outcome.adapter;
}

// Rows of cells, of which the first are headings, in columns.
class Table {
 public:
  void Add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::string ToText() const {
    std::vector<size_t> widths;
    for (const std::vector<std::string>& row : rows_) {
      widths.resize(std::max(widths.size(), row.size()));
      for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string text;
    for (const std::vector<std::string>& row : rows_) {
      std::string line;
      for (size_t i = 0; i < row.size(); ++i) {
        line += fmt::format("{:<{}}", row[i], widths[i] + kGap);
      }
      text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    return text;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

double MatchShare(const Outcome& outcome) {
  return static_cast<double>(outcome.matches()) / static_cast<double>(outcome.answered());
}

template <typename Cell>
void AddLine(const Report& report, const char* heading, Table& table, const Cell& cell) {
  std::vector<std::string> cells = {heading};
  for (const Outcome& outcome : report.outcomes) cells.push_back(cell(outcome));
  table.Add(std::move(cells));
}

void AddWins(const Report& report, Table& table) {
  const Comparison found = Compare(report.outcomes[0], report.outcomes[1]);
  table.Add({"lower loss", fmt::format("{} rows", found.first_wins),
             fmt::format("{} rows", found.second_wins),
             found.equal > 0 ? fmt::format("equal {}", found.equal) : ""});
  if (!report.counts_matches) return;
  table.Add({"match alone", fmt::format("{} rows", found.first_matches),
             fmt::format("{} rows", found.second_matches),
             fmt::format("both {}, neither {}", found.both_match, found.neither_matches)});
}

std::string ContentOf(const Json& message) {
  const Json content = message.value("content", Json(""));
  return content.is_string() ? content.get<std::string>() : Dump(content);
}

// What was asked: a text, or the last message.
std::string Question(const Json& prompt) {
  return prompt.is_string() ? prompt.get<std::string>() : ContentOf(prompt.back());
}

// A text as it is, of messages those of each turn.
std::string WholePrompt(const Json& prompt) {
  if (prompt.is_string()) return prompt.get<std::string>();
  std::vector<std::string> contents;
  for (const Json& message : prompt) contents.push_back(ContentOf(message));
  return Join(contents, "\n");
}

// Without white space at the ends, in one line.
std::string OneLine(std::string_view text) {
  std::string line;
  for (const char c : Trim(text)) line += c == '\n' ? std::string("\\n") : std::string(1, c);
  return line;
}

std::string SampleText(const Report& report, size_t row) {
  const EvaluatedRow& evaluated = report.rows[row];
  std::vector<std::string> losses;
  for (const Outcome& outcome : report.outcomes) {
    losses.push_back(fmt::format("{:.4f}", outcome.losses.rows[row].mean()));
  }
  std::string text = fmt::format("\n== {}: loss {}\n", evaluated.where, Join(losses, " -> "));
  if (evaluated.prompt.is_null()) return text;
  Table lines;
  lines.Add({"prompt", OneLine(Question(evaluated.prompt))});
  if (evaluated.expected) lines.Add({"expected", OneLine(*evaluated.expected)});
  for (const Outcome& outcome : report.outcomes) {
    const std::optional<Answer>& answer = outcome.answers[row];
    if (!answer) continue;
    lines.Add({outcome.label, OneLine(answer->text) + (answer->is_expected ? "  ✓" : "")});
  }
  return text + lines.ToText();
}

// Means over the layers, and the layer that is least alike.
std::string GeometryText(const Geometry& geometry) {
  const auto mean = [](const std::vector<float>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  };
  const auto least = std::ranges::min_element(geometry.cka);
  return fmt::format(
      "hidden states: cka {:.4f} ({:.4f} after layer {} of {}), distance loss {:.4g}, at {} "
      "tokens\n",
      mean(geometry.cka), *least, least - geometry.cka.begin() + 1, geometry.cka.size(),
      mean(geometry.distance_loss), geometry.tokens);
}

Json ToJson(const Outcome& outcome, bool counts_matches) {
  Json json = {{"adapter", outcome.adapter.empty() ? Json(nullptr) : Json(outcome.adapter)},
               {"loss", outcome.losses.loss()},
               {"perplexity", outcome.losses.perplexity()}};
  if (!outcome.model.empty()) json["model"] = outcome.model;
  if (counts_matches) {
    json["exact_match"] = {{"matches", outcome.matches()},
                           {"rows", outcome.answered()},
                           {"share", MatchShare(outcome)}};
  }
  return json;
}

Json SampleJson(const Report& report, size_t row) {
  const EvaluatedRow& evaluated = report.rows[row];
  Json sample = {{"row", evaluated.where}, {"prompt", evaluated.prompt}, {"expected", nullptr}};
  if (evaluated.expected) sample["expected"] = *evaluated.expected;
  for (const Outcome& outcome : report.outcomes) {
    Json& of_outcome = sample[outcome.label];
    of_outcome["loss"] = outcome.losses.rows[row].mean();
    if (outcome.answers[row]) of_outcome["answer"] = outcome.answers[row]->text;
  }
  return sample;
}

void AddComparison(const Report& report, Json& json) {
  const Outcome& first = report.outcomes[0];
  const Outcome& second = report.outcomes[1];
  const Comparison found = Compare(first, second);
  json["wins"] = {
      {first.label, found.first_wins}, {second.label, found.second_wins}, {"equal", found.equal}};
  if (report.counts_matches) {
    json["matches"] = {{"both", found.both_match},
                       {first.label, found.first_matches},
                       {second.label, found.second_matches},
                       {"neither", found.neither_matches}};
  }
  Json& rows = json["row_losses"] = Json::array();
  for (size_t i = 0; i < report.rows.size(); ++i) {
    rows.push_back({{"row", report.rows[i].where},
                    {"tokens", first.losses.rows[i].tokens},
                    {first.label, first.losses.rows[i].mean()},
                    {second.label, second.losses.rows[i].mean()}});
  }
  Json& samples = json["samples"] = Json::array();
  for (const size_t row : report.samples) samples.push_back(SampleJson(report, row));
}

}  // namespace

std::string ToText(const Report& report) {
  Table table;
  const bool has_two = report.outcomes.size() == 2;
  if (has_two) {
    AddLine(report, "", table, [](const Outcome& outcome) { return outcome.label; });
    AddLine(report, "", table, NameOf);
  }
  AddLine(report, "loss", table,
          [](const Outcome& one) { return fmt::format("{:.4f}", one.losses.loss()); });
  AddLine(report, "perplexity", table,
          [](const Outcome& one) { return fmt::format("{:.4g}", one.losses.perplexity()); });
  if (report.counts_matches) {
    AddLine(report, "exact match", table, [](const Outcome& one) {
      return fmt::format("{} of {} ({:.1f} %)", one.matches(), one.answered(),
                         100 * MatchShare(one));
    });
  }
  if (has_two) AddWins(report, table);
  std::string text = fmt::format("data: {}, {} answer tokens\n{}", report.summary,
                                 report.outcomes[0].losses.tokens(), table.ToText());
  if (report.geometry) text += GeometryText(*report.geometry);
  for (const size_t row : report.samples) text += SampleText(report, row);
  return text;
}

std::string SampleLines(const Report& report) {
  std::string lines;
  for (const size_t row : report.samples) {
    const EvaluatedRow& asked = report.rows[row];
    Json line = {{"prompt", WholePrompt(asked.prompt)},
                 {"before", report.outcomes[0].answers[row]->text},
                 {"after", report.outcomes[1].answers[row]->text}};
    if (asked.expected) line["expected"] = *asked.expected;
    lines += Dump(line) + "\n";
  }
  return lines;
}

Json ToJson(const Report& report) {
  Json json = {{"model", report.model},
               {"data", report.data},
               {"rows", report.rows.size()},
               {"tokens", report.outcomes[0].losses.tokens()}};
  if (report.outcomes.size() == 1) {
    json.update(ToJson(report.outcomes[0], report.counts_matches));
    return json;
  }
  for (const Outcome& outcome : report.outcomes) {
    json[outcome.label] = ToJson(outcome, report.counts_matches);
  }
  AddComparison(report, json);
  if (report.geometry) {
    json["geometry"] = {{"tokens", report.geometry->tokens},
                        {"cka", report.geometry->cka},
                        {"distance_loss", report.geometry->distance_loss}};
  }
  return json;
}

}  // namespace sophia::eval
