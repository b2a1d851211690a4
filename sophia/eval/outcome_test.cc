#include "sophia/eval/outcome.h"

#include <gmock/gmock.h>

#include "sophia/eval/report.h"

namespace sophia::eval {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// Rows of two tokens each.
Outcome OutcomeOf(std::string label, const std::vector<double>& sums,
                  const std::vector<std::string>& answers) {
  Outcome outcome{.label = std::move(label)};
  for (const double sum : sums) outcome.losses.rows.push_back({sum, 2});
  for (const std::string& answer : answers) {
    outcome.answers.emplace_back();
    if (!answer.empty()) outcome.answers.back() = {answer, answer == "right"};
  }
  return outcome;
}

Report ReportOf(std::vector<Outcome> outcomes, bool counts_matches) {
  Report report{.model = "m", .data = {"d"}, .summary = "4 examples"};
  for (int i = 0; i < 4; ++i) {
    report.rows.push_back({.where = fmt::format("d:{}", i + 1), .prompt = "2+2", .expected = "4"});
  }
  report.outcomes = std::move(outcomes);
  report.counts_matches = counts_matches;
  return report;
}

const std::vector<double> kFirst = {1, 2, 3, 4};
const std::vector<double> kSecond = {2, 1.5, 3, 1};

TEST(OutcomeTest, RowsAreWonByTheLowerLoss) {
  const Outcome a = OutcomeOf("a", kFirst, {"right", "right", "wrong", "wrong"});
  const Outcome b = OutcomeOf("b", kSecond, {"right", "wrong", "right", "wrong"});
  const Comparison found = Compare(a, b);
  EXPECT_EQ(found.first_wins, 1u);
  EXPECT_EQ(found.second_wins, 2u);
  EXPECT_EQ(found.equal, 1u);
  EXPECT_EQ(found.both_match, 1u);
  EXPECT_EQ(found.first_matches, 1u);
  EXPECT_EQ(found.second_matches, 1u);
  EXPECT_EQ(found.neither_matches, 1u);
  EXPECT_THAT(MostDifferent(a, b, 3), ElementsAre(3, 0, 1));
  EXPECT_THAT(MostDifferent(a, b, 9), ElementsAre(3, 0, 1, 2));
}

TEST(OutcomeTest, RowsThatWereNotAnsweredDoNotCount) {
  const Outcome a = OutcomeOf("a", kFirst, {"right", "", "right", ""});
  const Outcome b = OutcomeOf("b", kSecond, {"right", "right", "", ""});
  EXPECT_EQ(a.answered(), 2u);
  EXPECT_EQ(a.matches(), 2u);
  const Comparison found = Compare(a, b);
  EXPECT_EQ(found.both_match, 1u);
  EXPECT_EQ(found.first_matches + found.second_matches + found.neither_matches, 0u);
}

TEST(ReportTest, LossIsTheMeanOverTokensNotRows) {
  Outcome outcome{.label = "", .adapter = "x"};
  outcome.losses.rows = {{6, 1}, {2, 3}};
  outcome.answers.resize(2);
  Report report = ReportOf({outcome}, false);
  report.rows.resize(2);
  const Json json = ToJson(report);
  EXPECT_EQ(json["loss"], 2.0);
  EXPECT_EQ(json["tokens"], 4);
  EXPECT_EQ(json["adapter"], "x");
  EXPECT_FALSE(json.contains("exact_match"));
  EXPECT_THAT(ToText(report), HasSubstr("loss        2.0000\nperplexity  7.389\n"));
}

TEST(ReportTest, TwoOutcomesStandSideBySide) {
  Report report = ReportOf({OutcomeOf("a", kFirst, {"right", "right", "wrong", "wrong"}),
                            OutcomeOf("b", kSecond, {"right", "wrong", "wrong", "wrong"})},
                           true);
  report.samples = {1};
  const Json json = ToJson(report);
  EXPECT_EQ(json["a"]["exact_match"], (Json{{"matches", 2}, {"rows", 4}, {"share", 0.5}}));
  EXPECT_EQ(json["wins"], (Json{{"a", 1}, {"b", 2}, {"equal", 1}}));
  EXPECT_EQ(json["matches"], (Json{{"both", 1}, {"a", 1}, {"b", 0}, {"neither", 2}}));
  EXPECT_EQ(json["row_losses"][1], (Json{{"row", "d:2"}, {"tokens", 2}, {"a", 1.0}, {"b", 0.75}}));
  EXPECT_EQ(json["samples"], Json::array({{{"row", "d:2"},
                                           {"prompt", "2+2"},
                                           {"expected", "4"},
                                           {"a", {{"loss", 1.0}, {"answer", "right"}}},
                                           {"b", {{"loss", 0.75}, {"answer", "wrong"}}}}}));
  const std::string text = ToText(report);
  for (const char* part : {"exact match  2 of 4 (50.0 %)  1 of 4 (25.0 %)", "lower loss   1 rows",
                           "== d:2: loss 1.0000 -> 0.7500\nprompt    2+2\nexpected  4\na         "
                           "right  ✓\nb         wrong\n"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  report.outcomes[1].answers[1]->text = " one\ntwo\n";
  EXPECT_THAT(ToText(report), HasSubstr("b         one\\ntwo\n"));
  report.counts_matches = false;
  EXPECT_THAT(ToText(report), Not(HasSubstr("match")));
}

}  // namespace
}  // namespace sophia::eval
