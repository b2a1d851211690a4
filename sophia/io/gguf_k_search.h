#pragma once

#include <span>

namespace sophia::io {

// x ≈ scale * q - minimum with q from 0 to `levels`, scale and minimum at least 0.
struct AffineFit {
  float scale = 0;
  float minimum = 0;
};

// The best of some step widths, each followed by the least-squares solution for its integers.
// Elements weigh by their magnitude, as large weights matter more to a product.
AffineFit FitAffine(std::span<const float> x, int levels);

// x ≈ scale * q with q from -levels to levels - 1; the scale may be negative.
float FitScale(std::span<const float> x, int levels);

}  // namespace sophia::io
