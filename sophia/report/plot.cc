#include "sophia/report/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "sophia/base/strings.h"
#include "sophia/report/html.h"

namespace sophia::report {
namespace {

constexpr double kWidth = 640;
constexpr double kHeight = 220;
constexpr double kLeft = 70;
constexpr double kRight = 12;
constexpr double kTop = 10;
constexpr double kBottom = 26;
constexpr size_t kMostPoints = 500;
constexpr int kWantedTicks = 4;
// As a share of the values; what differs by less is drawn as the same.
constexpr double kLeastRange = 1e-9;

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void Add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool is_empty() const { return low > high; }
};

// From data to the picture.
struct Axes {
  std::vector<double> x_ticks;
  std::vector<double> y_ticks;

  double X(double step) const { return Along(x_ticks, step, kLeft, kWidth - kRight); }
  double Y(double value) const { return Along(y_ticks, value, kHeight - kBottom, kTop); }

  static double Along(const std::vector<double>& ticks, double value, double from, double to) {
    return from + (value - ticks.front()) / (ticks.back() - ticks.front()) * (to - from);
  }
};

std::string Label(Unit unit, double value) {
  if (unit == Unit::kBytes) return HumanBytes(value);
  if (unit == Unit::kCount) return std::string(Trim(HumanCount(value)));
  return fmt::format("{:.4g}", value);
}

std::string Grid(const Axes& axes, Unit unit) {
  std::string svg;
  for (const double tick : axes.y_ticks) {
    const double y = axes.Y(tick);
    svg += fmt::format("<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>",
                       kLeft, kWidth - kRight, y, y);
    svg += fmt::format("<text class=\"y\" x=\"{}\" y=\"{:.1f}\">{}</text>\n", kLeft - 6, y + 4,
                       Escape(Label(unit, tick)));
  }
  for (const double tick : axes.x_ticks) {
    svg += fmt::format("<text class=\"x\" x=\"{:.1f}\" y=\"{}\">{:.6g}</text>\n", axes.X(tick),
                       kHeight - 8, tick);
  }
  return svg;
}

// One polyline for each stretch of finite values; a circle where it has one point only.
std::string Drawn(const std::vector<Point>& points, const Axes& axes, size_t colour) {
  std::string svg;
  std::string stretch;
  size_t count = 0;
  Point last;
  const auto end_stretch = [&] {
    if (count == 1) {
      svg += fmt::format("<circle class=\"dot{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"/>\n", colour,
                         axes.X(last.step), axes.Y(last.value));
    } else if (count > 1) {
      svg += fmt::format("<polyline class=\"line{}\" points=\"{}\"/>\n", colour, stretch);
    }
    stretch.clear();
    count = 0;
  };
  for (const Point& point : points) {
    if (!std::isfinite(point.value)) {
      end_stretch();
      continue;
    }
    if (count++ > 0) stretch += ' ';
    stretch += fmt::format("{:.1f},{:.1f}", axes.X(point.step), axes.Y(point.value));
    last = point;
  }
  end_stretch();
  return svg;
}

}  // namespace

std::vector<Point> Thin(const std::vector<Point>& points, size_t count) {
  const size_t group = (points.size() + count - 1) / count;
  if (group <= 1) return points;
  std::vector<Point> thinned;
  for (size_t first = 0; first < points.size(); first += group) {
    const size_t end = std::min(first + group, points.size());
    Point mean;
    size_t finite = 0;
    for (size_t i = first; i < end; ++i) {
      mean.step += points[i].step / static_cast<double>(end - first);
      if (!std::isfinite(points[i].value)) continue;
      mean.value += points[i].value;
      ++finite;
    }
    mean.value /= static_cast<double>(finite);
    thinned.push_back(mean);
  }
  return thinned;
}

std::vector<double> Ticks(double low, double high) {
  const double largest = std::max(std::abs(low), std::abs(high));
  if (high - low <= kLeastRange * largest) {
    const double around = low == 0 ? 1 : largest / 2;
    low -= around;
    high += around;
  }
  const double rough = (high - low) / kWantedTicks;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= rough) step = factor * power;
  }
  const double first = std::floor(low / step);
  std::vector<double> ticks = {first * step};
  for (double i = first + 1; ticks.back() < high; ++i) ticks.push_back(i * step);
  return ticks;
}

std::string Plot(std::string_view title, Unit unit, const std::vector<Line>& lines) {
  Range steps;
  Range values;
  size_t most = 0;
  for (const Line& line : lines) {
    most = std::max(most, line.points->size());
    for (const Point& point : *line.points) {
      steps.Add(point.step);
      values.Add(point.value);
    }
  }
  std::string caption(Escape(title));
  if (lines.size() > 1) {
    for (size_t i = 0; i < lines.size(); ++i) {
      caption += fmt::format(" <span class=\"name{}\">{}</span>", i, Escape(lines[i].name));
    }
  }
  const size_t group = (most + kMostPoints - 1) / kMostPoints;
  if (group > 1) caption += fmt::format(" <small>means of {}</small>", group);
  std::string svg;
  if (values.is_empty()) {
    svg = fmt::format("<text x=\"{}\" y=\"{}\">nothing yet</text>\n", kWidth / 2, kHeight / 2);
  } else {
    const Axes axes{Ticks(steps.low, steps.high), Ticks(values.low, values.high)};
    svg = Grid(axes, unit);
    for (size_t i = 0; i < lines.size(); ++i) {
      svg += Drawn(Thin(*lines[i].points, kMostPoints), axes, i);
    }
  }
  return fmt::format(
      "<figure><figcaption>{}</figcaption>\n<svg viewBox=\"0 0 {} {}\" "
      "role=\"img\">\n{}</svg></figure>\n",
      caption, kWidth, kHeight, svg);
}

}  // namespace sophia::report
