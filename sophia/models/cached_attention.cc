#include "sophia/models/cached_attention.h"

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/nn/attention.h"

namespace sophia::models {
namespace {

Tensor Store(Tensor cache, const Tensor& rows, const Tensor& positions, const Tensor& layer) {
  const Tensor zero = Scalar(DType::kS32, 0);
  for (int64_t b = 0; b < rows.dim(0); ++b) {
    const Tensor row = ExpandDims(SliceAxis(rows, 0, b, b + 1), 0);
    const Tensor start = Reshape(Slice(positions, {b, 0}, {b + 1, 1}), {});
    const Tensor batch = Scalar(DType::kS32, static_cast<double>(b));
    cache = DynamicUpdateSlice(cache, row, {layer, batch, start, zero, zero});
  }
  return cache;
}

Tensor LayerOf(const Tensor& cache, const Tensor& layer) {
  const Tensor zero = Scalar(DType::kS32, 0);
  Dims sizes = cache.dims();
  sizes[0] = 1;
  return Squeeze(DynamicSlice(cache, {layer, zero, zero, zero, zero}, sizes), 0);
}

}  // namespace

Tensor AttendCached(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& positions,
                    const Tensor& layer, KvCache& cache) {
  cache.keys = Store(cache.keys, k, positions, layer);
  cache.values = Store(cache.values, v, positions, layer);
  return nn::Attend(q, LayerOf(cache.keys, layer), LayerOf(cache.values, layer),
                    {.positions = positions});
}

}  // namespace sophia::models
