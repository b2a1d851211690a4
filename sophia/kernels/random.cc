#include "sophia/kernels/random.h"

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/kernels/threefry.h"

namespace sophia::kernels {
namespace {

// The low 32 bits of a u64.
Tensor LowWord(const Tensor& x) { return BitcastConvert(Convert(x, DType::kU32), DType::kS32); }

}  // namespace

Tensor DropoutKey(const Tensor& seed, const Tensor& stream) {
  const Words<Tensor> words = {LowWord(ShiftRightLogical(seed, 32.0)), LowWord(seed)};
  const Words<Tensor> key = Threefry<Tensor>(words, {ZerosLike(stream), stream});
  return Concatenate({Reshape(key[0], {1}), Reshape(key[1], {1})}, 0);
}

Tensor RandomWords(const Tensor& key, const Tensor& row, const Tensor& column) {
  const auto word = [&](int64_t i) {
    return BroadcastTo(Reshape(SliceAxis(key, 0, i, i + 1), {}), row.dims());
  };
  return Threefry<Tensor>({word(0), word(1)}, {row, column})[0];
}

Tensor GumbelNoise(const Tensor& key, const Tensor& row, const Tensor& column) {
  // The middles of 2^23 equal parts of (0, 1), which f32 holds exactly.
  const Tensor part = ShiftRightLogical(RandomWords(key, row, column), 9.0);
  const Tensor uniform = (Convert(part, DType::kF32) + 0.5) * 0x1p-23;
  return -Log(-Log(uniform));
}

Tensor RandomSigns(const Tensor& key, const Dims& dims) {
  const int64_t columns = dims.empty() ? 1 : dims.back();
  const Shape flat{DType::kS32, {columns == 0 ? 0 : Product(dims) / columns, columns}};
  const Tensor words = RandomWords(key, Iota(flat, 0), Iota(flat, 1));
  const Tensor bit = Convert(And(words, 1.0), DType::kF32);
  return Reshape(bit * 2.0 - 1.0, dims);
}

}  // namespace sophia::kernels
