#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sophia/report/metrics_file.h"

namespace sophia::report {

enum class Unit : uint8_t { kPlain, kCount, kBytes };

struct Line {
  std::string_view name;
  const std::vector<Point>* points;
};

// A <figure> with an SVG plot of lines over steps, its scale from the finite values. Many points
// are drawn as the means of as many neighbours each, which the caption says. Points that are not
// finite leave gaps.
std::string Plot(std::string_view title, Unit unit, const std::vector<Line>& lines);

// Means of the finite values of equally many neighbours each, at most `count` points.
std::vector<Point> Thin(const std::vector<Point>& points, size_t count);

// At least two multiples of 1, 2 or 5 times a power of ten, the first at most `low` and the last at
// least `high`.
std::vector<double> Ticks(double low, double high);

}  // namespace sophia::report
