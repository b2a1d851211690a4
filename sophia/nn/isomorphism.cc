#include "sophia/nn/isomorphism.h"

#include "sophia/base/error.h"
#include "sophia/base/rounding.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia::nn {
namespace {

// Keeps divisors and roots away from 0.
constexpr double kTiny = 1e-30;

// Inner products of the states less their mean, [L, n, n]; those of tokens that do not count are 0.
Tensor CentredGram(const Tensor& states, const Tensor& counted) {
  const Tensor weight = Reshape(counted, {1, -1, 1});
  const Tensor x = Convert(states, DType::kF32);
  const Tensor mean = Sum(x * weight, {1}, {.keep_dims = true}) / Max(Sum(counted), 1.0);
  const Tensor centred = (x - mean) * weight;
  return DotGeneral(centred, centred,
                    {.lhs_batch = {0},
                     .rhs_batch = {0},
                     .lhs_contract = {2},
                     .rhs_contract = {2},
                     .precision = Precision::kHighest});
}

// Whether i = j, [n, n].
Tensor Diagonal(int64_t n) {
  return Eq(Iota({DType::kS32, {n, n}}, 0), Iota({DType::kS32, {n, n}}, 1));
}

Tensor Total(const Tensor& x) { return Sum(x, {1, 2}); }

// Distances between tokens over their mean, [L, n, n]; 0 for what is no pair.
Tensor RelativeDistances(const Tensor& gram, const Tensor& pairs) {
  const Tensor diagonal = BroadcastTo(Diagonal(gram.dim(1)), gram.dims());
  const Tensor squares = Sum(Select(diagonal, gram, 0.0), {2});
  const Tensor between = ExpandDims(squares, 2) + ExpandDims(squares, 1) - gram * 2.0;
  const Tensor apart = And(BroadcastTo(Gt(pairs, 0.0), gram.dims()), Gt(between, kTiny));
  const Tensor distance = Select(apart, Sqrt(Select(apart, between, 1.0)), 0.0);
  const Tensor mean = Total(distance) / Max(Sum(pairs), 1.0);
  return distance / Reshape(Max(mean, kTiny), {-1, 1, 1});
}

Tensor Huber(const Tensor& x) { return Select(Le(Abs(x), 1.0), x * x * 0.5, Abs(x) - 0.5); }

}  // namespace

IsomorphismMeasures MeasureIsomorphism(const Tensor& x, const Tensor& y, const Tensor& counted) {
  SOPHIA_CHECK(x.rank() == 3 && y.rank() == 3 && x.dim(0) == y.dim(0) && x.dim(1) == y.dim(1) &&
               counted.shape() == Shape({DType::kF32, {x.dim(1)}}));
  const Tensor k = CentredGram(x, counted);
  const Tensor l = CentredGram(y, counted);
  const Tensor size = Sqrt(Max(Total(k * k), kTiny)) * Sqrt(Max(Total(l * l), kTiny));
  const Tensor others = 1.0 - Convert(Diagonal(x.dim(1)), DType::kF32);
  const Tensor pairs = others * Reshape(counted, {-1, 1}) * Reshape(counted, {1, -1});
  const Tensor difference = RelativeDistances(k, pairs) - RelativeDistances(l, pairs);
  return {.cka = Total(k * l) / size,
          .distance_loss = Total(Huber(difference)) / Max(Sum(pairs), 1.0)};
}

std::vector<int32_t> LayersAtTheSameDepth(int64_t layers, int64_t others) {
  std::vector<int32_t> same;
  for (int64_t layer = 1; layer <= layers; ++layer) {
    same.push_back(static_cast<int32_t>(CeilDiv(layer * others, layers) - 1));
  }
  return same;
}

Tensor AtTheSameDepth(const Tensor& states, int64_t layers) {
  const int64_t others = states.dim(0);
  if (layers == others) return states;
  return Take(states, ConstantS32({layers}, LayersAtTheSameDepth(layers, others)), 0);
}

}  // namespace sophia::nn
