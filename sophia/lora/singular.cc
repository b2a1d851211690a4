#include "sophia/lora/singular.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace sophia::lora {
namespace {

double Dot(const Row& a, const Row& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// a += factor · b.
void AddTimes(Row& a, double factor, const Row& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += factor * b[i];
}

void Scale(Row& a, double factor) {
  for (double& value : a) value *= factor;
}

// Turns rows p and q of `rows` by an angle.
void Turn(Rows& rows, size_t p, size_t q, double cosine, double sine) {
  for (size_t i = 0; i < rows[p].size(); ++i) {
    const double x = rows[p][i];
    const double y = rows[q][i];
    rows[p][i] = cosine * x - sine * y;
    rows[q][i] = sine * x + cosine * y;
  }
}

// Turns rows and columns p and q of a symmetric matrix so that its element (p, q) becomes zero, and
// the rows of `vectors` with them.
void Annihilate(Rows& matrix, Rows& vectors, size_t p, size_t q) {
  if (matrix[p][q] == 0) return;
  const double theta = (matrix[q][q] - matrix[p][p]) / (2 * matrix[p][q]);
  const double sign = theta >= 0 ? 1 : -1;
  const double tangent = sign / (std::abs(theta) + std::sqrt(theta * theta + 1));
  const double cosine = 1 / std::sqrt(tangent * tangent + 1);
  const double sine = tangent * cosine;
  Turn(matrix, p, q, cosine, sine);
  for (Row& row : matrix) {
    const double x = row[p];
    const double y = row[q];
    row[p] = cosine * x - sine * y;
    row[q] = sine * x + cosine * y;
  }
  Turn(vectors, p, q, cosine, sine);
}

double OffDiagonal(const Rows& matrix) {
  double sum = 0;
  for (size_t i = 0; i < matrix.size(); ++i) {
    for (size_t j = 0; j < i; ++j) sum += matrix[i][j] * matrix[i][j];
  }
  return sum;
}

// The eigenvectors of a symmetric matrix, which becomes diagonal, as rows.
Rows Eigenvectors(Rows& matrix) {
  const size_t n = matrix.size();
  Rows vectors(n, Row(n, 0.0));
  double size = 0;
  for (size_t i = 0; i < n; ++i) {
    vectors[i][i] = 1;
    size += Dot(matrix[i], matrix[i]);
  }
  constexpr int kMostSweeps = 60;
  for (int sweep = 0; sweep < kMostSweeps && OffDiagonal(matrix) > 1e-30 * size; ++sweep) {
    for (size_t p = 0; p < n; ++p) {
      for (size_t q = p + 1; q < n; ++q) Annihilate(matrix, vectors, p, q);
    }
  }
  return vectors;
}

}  // namespace

void Orthonormalize(Rows& rows) {
  for (size_t i = 0; i < rows.size(); ++i) {
    const double before = std::sqrt(Dot(rows[i], rows[i]));
    for (int pass = 0; pass < 2; ++pass) {
      for (size_t j = 0; j < i; ++j) AddTimes(rows[i], -Dot(rows[i], rows[j]), rows[j]);
    }
    const double norm = std::sqrt(Dot(rows[i], rows[i]));
    Scale(rows[i], norm > 1e-7 * before ? 1 / norm : 0);
  }
}

Svd SvdOfFewRows(const Rows& matrix) {
  const size_t q = matrix.size();
  Rows gram(q, Row(q));
  for (size_t i = 0; i < q; ++i) {
    for (size_t j = 0; j < q; ++j) gram[i][j] = Dot(matrix[i], matrix[j]);
  }
  const Rows vectors = Eigenvectors(gram);
  std::vector<size_t> order(q);
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, std::greater<>(), [&](size_t i) { return gram[i][i]; });
  Svd svd;
  for (const size_t i : order) {
    svd.left.push_back(vectors[i]);
    Row right(matrix[0].size(), 0.0);
    for (size_t j = 0; j < q; ++j) AddTimes(right, vectors[i][j], matrix[j]);
    svd.values.push_back(std::sqrt(Dot(right, right)));
    Scale(right, svd.values.back() > 0 ? 1 / svd.values.back() : 0);
    svd.right.push_back(std::move(right));
  }
  return svd;
}

}  // namespace sophia::lora
