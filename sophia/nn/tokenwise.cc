#include "sophia/nn/tokenwise.h"

#include <numeric>

#include "sophia/base/rounding.h"
#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"

namespace sophia::nn {
namespace {

// Far apart, as the seeds of the steps of a run are consecutive.
constexpr double kSeedsApart = 2654435769;

Tensor SwapFirstTwo(const Tensor& x) {
  Dims order(x.dims().size());
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[0], order[1]);
  return Transpose(x, order);
}

// Equal tiles of a sequence, the last one padded with zeros where they do not divide it.
struct Tiles {
  int64_t count, size, seq;

  // [B, S, …] -> [count, B, size, …] and back.
  Tensor Split(const Tensor& x) const {
    Dims tiled = x.dims();
    tiled[1] = size;
    tiled.insert(tiled.begin() + 1, count);
    return SwapFirstTwo(Reshape(PadEnd(x, 1, count * size), tiled));
  }
  Tensor Join(const Tensor& x) const {
    Dims dims(x.dims().begin() + 1, x.dims().end());
    dims[1] = count * size;
    const Tensor whole = Reshape(SwapFirstTwo(x), dims);
    return count * size == seq ? whole : SliceAxis(whole, 1, 0, seq);
  }
};

}  // namespace

int64_t TileCount(int64_t seq, int64_t tile) {
  const int64_t least = CeilDiv(seq, tile);
  for (int64_t count = least; count <= 2 * least; ++count) {
    if (seq % count == 0) return count;
  }
  return least;
}

std::vector<Tensor> Tokenwise::operator()(const Function& function,
                                          const std::vector<Tensor>& inputs) const {
  const int64_t tile = policy_->activations().tile;
  const int64_t seq = inputs[0].dim(1);
  if (tile == 0 || seq <= tile) return function(inputs);
  const int64_t count = TileCount(seq, tile);
  const Tiles tiles{.count = count, .size = CeilDiv(seq, count), .seq = seq};
  std::vector<Tensor> xs;
  for (const Tensor& input : inputs) xs.push_back(tiles.Split(input));
  xs.push_back(Iota({DType::kU64, {count}}, 0));
  const Tensor seed = table_->dropout_seed();
  const ScanResult result = Scan(
      [&](std::span<const Tensor>, std::span<const Tensor> slices) -> ScanStep {
        if (seed.defined()) table_->set_dropout_seed(seed + slices.back() * kSeedsApart);
        return {{}, function(slices.first(inputs.size()))};
      },
      {}, xs, {.remat = Remat::Nothing()});
  table_->set_dropout_seed(seed);
  std::vector<Tensor> outputs;
  for (const Tensor& y : result.ys) outputs.push_back(tiles.Join(y));
  return outputs;
}

}  // namespace sophia::nn
