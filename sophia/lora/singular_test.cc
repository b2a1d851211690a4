#include "sophia/lora/singular.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace sophia::lora {
namespace {

Rows RandomRows(size_t count, size_t size) {
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  Rows rows(count, Row(size));
  for (Row& row : rows) {
    for (double& value : row) value = normal(random);
  }
  return rows;
}

double Dot(const Row& a, const Row& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

TEST(OrthonormalizeTest, GivesOrthonormalRowsOfTheSameSpan) {
  Rows rows = RandomRows(5, 9);
  rows[3] = rows[1];
  const Rows before = rows;
  Orthonormalize(rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < rows.size(); ++j) {
      EXPECT_NEAR(Dot(rows[i], rows[j]), i == j && i != 3 ? 1 : 0, 1e-14);
    }
    Row left = before[i];
    for (const Row& row : rows) {
      const double part = Dot(before[i], row);
      for (size_t k = 0; k < left.size(); ++k) left[k] -= part * row[k];
    }
    EXPECT_NEAR(Dot(left, left), 0, 1e-24);
  }
}

TEST(SvdTest, PutsAMatrixTogetherAgain) {
  Rows matrix = RandomRows(6, 8);
  matrix[5] = matrix[0];  // of rank 5
  const Svd svd = SvdOfFewRows(matrix);
  for (size_t i = 0; i < 6; ++i) {
    if (i > 0) {
      EXPECT_LE(svd.values[i], svd.values[i - 1]);
    }
    for (size_t j = 0; j < 6; ++j) {
      EXPECT_NEAR(Dot(svd.left[i], svd.left[j]), i == j ? 1 : 0, 1e-12);
      if (i < 5 && j < 5) {
        EXPECT_NEAR(Dot(svd.right[i], svd.right[j]), i == j ? 1 : 0, 1e-12);
      }
    }
    for (size_t k = 0; k < 8; ++k) {
      double sum = 0;
      for (size_t j = 0; j < 6; ++j) sum += svd.left[j][i] * svd.values[j] * svd.right[j][k];
      EXPECT_NEAR(sum, matrix[i][k], 1e-12);
    }
  }
  EXPECT_NEAR(svd.values[5], 0, 1e-7);
}

}  // namespace
}  // namespace sophia::lora
