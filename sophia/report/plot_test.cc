#include "sophia/report/plot.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <random>

#include "sophia/report/html.h"

namespace sophia::report {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(TicksTest, AreRoundAndCoverTheRange) {
  EXPECT_THAT(Ticks(0, 10), ElementsAre(0, 5, 10));
  EXPECT_THAT(Ticks(1.2, 4.9), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(Ticks(3, 3), ElementsAre(1, 2, 3, 4, 5));
  std::mt19937 random(1);
  std::uniform_real_distribution<double> exponent(-12, 12);
  for (int i = 0; i < 2000; ++i) {
    const double low = std::pow(10, exponent(random)) * (i % 2 == 0 ? 1 : -1);
    const double high = low + std::pow(10, exponent(random));
    const std::vector<double> ticks = Ticks(low, high);
    ASSERT_GE(ticks.size(), 2u);
    ASSERT_LE(ticks.size(), 7u) << low << " " << high;
    EXPECT_LE(ticks.front(), low + 1e-9 * std::abs(low));
    EXPECT_GE(ticks.back(), high - 1e-9 * std::abs(high));
    EXPECT_GT(ticks.back(), ticks.front());
  }
}

TEST(ThinTest, TakesMeansOfNeighbours) {
  const std::vector<Point> points = {{1, 1}, {2, 3}, {3, kNan}, {4, 8}, {5, kNan}};
  EXPECT_EQ(Thin(points, 5).size(), 5u);
  const std::vector<Point> thin = Thin(points, 3);
  ASSERT_EQ(thin.size(), 3u);
  EXPECT_EQ(thin[0].step, 1.5);
  EXPECT_EQ(thin[0].value, 2);
  EXPECT_EQ(thin[1].value, 8);
  EXPECT_TRUE(std::isnan(thin[2].value));
}

size_t Count(const std::string& text, std::string_view part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(PlotTest, GapsSplitLines) {
  const std::vector<Point> points = {{1, 1}, {2, 2}, {3, kNan}, {4, 1}, {5, kNan}, {6, 1}, {7, 2}};
  const std::string plot = Plot("a < b", Unit::kPlain, {{"x", &points}});
  EXPECT_EQ(Count(plot, "<polyline"), 2u);
  EXPECT_EQ(Count(plot, "<circle"), 1u);
  EXPECT_THAT(plot, HasSubstr("a &lt; b"));
  EXPECT_THAT(plot, Not(HasSubstr("nan")));
}

TEST(PlotTest, SaysWhatItLacksAndLeavesOut) {
  const std::vector<Point> none = {{1, kNan}};
  EXPECT_THAT(Plot("x", Unit::kPlain, {{"x", &none}}), HasSubstr("nothing yet"));
  const std::vector<Point> many(5001, Point{1, 2});
  EXPECT_THAT(Plot("x", Unit::kPlain, {{"x", &many}}), HasSubstr("means of 11"));
}

TEST(HtmlTest, EscapesAndCuts) {
  EXPECT_EQ(Escape("<a href='x'>\"&</a>"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&lt;/a&gt;");
  EXPECT_EQ(EscapeStart("aäö", 3), "aä…");
  EXPECT_EQ(EscapeStart("aäö", 4), "aä…");
  EXPECT_EQ(EscapeStart("aäö", 5), "aäö");
  EXPECT_EQ(Table({{"a", {{"bytes", 2000}}}, {"<b>", "&"}}),
            "<table>\n<tr><th>a.bytes</th><td>2 kB</td></tr>\n"
            "<tr><th>&lt;b&gt;</th><td>&amp;</td></tr>\n</table>\n");
}

}  // namespace
}  // namespace sophia::report
