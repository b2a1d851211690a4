#pragma once

#include <optional>

#include "sophia/graph/tensor.h"

namespace sophia {

// How f32 operands are multiplied on hardware whose matrix unit is narrower.
enum class Precision : uint8_t { kDefault, kHigh, kHighest };

struct DotOptions {
  Dims lhs_batch = {};
  Dims rhs_batch = {};
  Dims lhs_contract = {};
  Dims rhs_contract = {};
  Precision precision = Precision::kDefault;
  // Element type of accumulation and result; the operands' by default.
  std::optional<DType> result = std::nullopt;
};

// Generalised matrix product. The result has the batch dimensions, then lhs's free ones, then
// rhs's.
Tensor DotGeneral(const Tensor& lhs, const Tensor& rhs, const DotOptions& options,
                  Loc loc = Loc::current());

// x: [..., K], w: [K, N] -> [..., N]; with `transposed`, w: [N, K].
struct MatMulOptions {
  bool transposed = false;
  Precision precision = Precision::kDefault;
  std::optional<DType> result = std::nullopt;
};
Tensor MatMul(const Tensor& x, const Tensor& w, const MatMulOptions& options = {},
              Loc loc = Loc::current());

}  // namespace sophia
