#pragma once

#include <cstdint>
#include <vector>

namespace sophia::lora {

using Row = std::vector<double>;
using Rows = std::vector<Row>;  // of equal lengths

// Makes the rows orthonormal, one after another (Gram-Schmidt, twice); a row that depends on those
// before becomes zero.
void Orthonormalize(Rows& rows);

// Singular values, largest first, and vectors of a matrix of few rows, [q, n] with q <= n, from the
// eigenvectors of its Gram matrix (Jacobi's method).
struct Svd {
  std::vector<double> values;  // [q]
  Rows left;                   // row i: the i-th left singular vector, [q, q]
  Rows right;                  // row i: the i-th right one, [q, n]
};
Svd SvdOfFewRows(const Rows& matrix);

}  // namespace sophia::lora
