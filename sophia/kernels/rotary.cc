#include "sophia/kernels/rotary.h"

#include <algorithm>
#include <numeric>

#include "sophia/base/error.h"
#include "sophia/base/rounding.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/kernels/row_blocks.h"

namespace sophia::kernels {
namespace {

using pallas::KernelRefs;
using pallas::Ref;
using pallas::Val;

constexpr int64_t kStep = 16;

struct Rotation {
  int64_t head_dim;
  RotaryLayout layout;
  bool inverse;
  // From an element to its partner, which is to the right of every first one of a pair.
  int64_t distance() const { return layout == RotaryLayout::kHalves ? head_dim / 2 : 1; }
  // Lanes that whole heads and whole tiles fill.
  int64_t group() const { return std::lcm(head_dim, kLanes); }
  // Heads that are rotated at once where rows are `width` wide.
  int64_t copies(int64_t width) const { return std::min(group(), width) / head_dim; }
};

// [step, n] copies of x side by side.
Val Repeat(const Val& x, int64_t n) {
  return pallas::Concatenate(std::vector(static_cast<size_t>(n), x), 1);
}

// The elements that those of x, whole heads, are rotated with.
Val Partners(const Rotation& rotation, const Val& x) {
  const int64_t distance = rotation.distance();
  const int64_t width = RoundUp(x.dim(1), kLanes);
  Val wide = x;
  if (width > x.dim(1)) {
    const Val zeros = pallas::Full({DType::kF32, {x.dim(0), width - x.dim(1)}}, 0);
    wide = pallas::Concatenate({x, zeros}, 1);
  }
  const Val right = pallas::Roll(wide, width - distance, 1);
  if (width == 2 * distance) return right;
  const Val left = pallas::Roll(wide, distance, 1);
  const Val lane = pallas::Iota(wide.dims(), 1);
  const Val partner = pallas::Select(lane % (2 * distance) < distance, right, left);
  return width > x.dim(1) ? pallas::SliceAxis(partner, 1, 0, x.dim(1)) : partner;
}

// Rotates rows of heads, a group of lanes at a time.
void RotateRows(const Rotation& rotation, const Ref& in, const Ref& out, const pallas::Ds& at,
                const Val& cos, const Val& sin) {
  const int64_t width = in.dim(1);
  for (int64_t lane = 0; lane < width; lane += rotation.group()) {
    const int64_t size = std::min(rotation.group(), width - lane);
    const pallas::Ds lanes(lane, size);
    const Val x = pallas::Convert(in.At({at, lanes}).Load(), DType::kF32);
    const Val turned = Partners(rotation, x) * pallas::SliceAxis(sin, 1, 0, size);
    const Val straight = x * pallas::SliceAxis(cos, 1, 0, size);
    const Val y = rotation.inverse ? straight - turned : straight + turned;
    out.At({at, lanes}).Store(pallas::Convert(y, out.dtype()));
  }
}

// q and k as rows [B · S, heads · D], rotated.
std::vector<Tensor> Rotate(const std::vector<Tensor>& heads, const Tensor& table,
                           const Rotation& rotation, const KernelTarget& target,
                           const RotaryOptions& options) {
  const int64_t d = rotation.head_dim;
  const int64_t rows = table.dim(0);
  int64_t row_bytes = ByteSize(DType::kF32, RoundUp(2 * d, kLanes));
  for (const Tensor& x : heads) row_bytes += 2 * ByteSize(x.dtype(), RoundUp(x.dim(1), kLanes));
  const int64_t block_rows = PlanBlockRows("rotary", rows, row_bytes, target,
                                           {.block_rows = options.block_rows, .step = kStep});
  const auto blocks_of = [&](const Tensor& x) {
    return RowBlocks{.rows = rows,
                     .columns = x.dim(1),
                     .block_rows = block_rows,
                     .block_columns = x.dim(1),
                     .step = kStep};
  };
  pallas::KernelSpec spec = RowSpec("rotary", blocks_of(table), 1, {});
  for (const Tensor& x : heads) {
    spec.in_specs.push_back(blocks_of(x).spec());
    spec.out_specs.push_back(blocks_of(x).spec());
    spec.out_shapes.push_back(x.shape());
  }
  spec.cost_estimate =
      pallas::CostEstimate{.flops = 3 * rows * (heads[0].dim(1) + heads[1].dim(1)),
                           .bytes_accessed = table.shape().bytes() + 2 * heads[0].shape().bytes() +
                                             2 * heads[1].shape().bytes()};
  const int64_t copies = rotation.copies(std::max(heads[0].dim(1), heads[1].dim(1)));
  const auto body = [&](const KernelRefs& r) {
    ForRowSteps(blocks_of(table), [&](const pallas::Ds& at) {
      const Val angles = r.in[0].At({at}).Load();
      const Val cos = Repeat(pallas::SliceAxis(angles, 1, 0, d), copies);
      const Val sin = Repeat(pallas::SliceAxis(angles, 1, d, 2 * d), copies);
      for (size_t i = 0; i < r.out.size(); ++i) {
        RotateRows(rotation, r.in[i + 1], r.out[i], at, cos, sin);
      }
    });
  };
  return pallas::PallasCall(spec, body, {table, heads[0], heads[1]}, CallOf(target));
}

Tensor Reference(const Tensor& x, const RotaryTable& table) {
  const int64_t d = x.dim(-1);
  const Tensor wide = Convert(x, DType::kF32);
  const Tensor rows = ExpandDims(StopGradient(table.rows), 2);
  Tensor partners;
  if (table.layout == RotaryLayout::kHalves) {
    partners = Concatenate({SliceAxis(wide, -1, d / 2, d), SliceAxis(wide, -1, 0, d / 2)}, -1);
  } else {
    Dims pairs = x.dims();
    pairs.back() = d / 2;
    pairs.push_back(2);
    partners = Reshape(Reverse(Reshape(wide, pairs), {x.rank()}), x.dims());
  }
  const Tensor turned = partners * SliceAxis(rows, -1, d, 2 * d);
  return Convert(wide * SliceAxis(rows, -1, 0, d) + turned, x.dtype());
}

void CheckShapes(const Tensor& q, const Tensor& k, const RotaryTable& table) {
  const auto fits = [&] {
    return q.rank() == 4 && k.rank() == 4 && q.dim(3) % 2 == 0 && k.dim(3) == q.dim(3) &&
           k.dim(0) == q.dim(0) && k.dim(1) == q.dim(1) &&
           table.rows.shape() == Shape{DType::kF32, {q.dim(0), q.dim(1), 2 * q.dim(3)}};
  };
  if (fits()) return;
  Fail("rotary",
       "expected q [B, S, H, D], k [B, S, K, D] and a table f32[B, S, 2 D] with even D, got {}, {} "
       "and {}",
       ToString(q.shape()), ToString(k.shape()), ToString(table.rows.shape()));
}

}  // namespace

RotaryTable MakeRotaryTable(const Tensor& cos, const Tensor& sin, RotaryLayout layout) {
  CheckLike("rotary", "sin", sin, cos);
  if (cos.rank() != 4 || cos.dim(2) != 1) {
    Fail("rotary", "expected cos and sin [B, S, 1, D/2], got {}", ToString(cos.shape()));
  }
  const int64_t axis = layout == RotaryLayout::kHalves ? 2 : 3;
  const auto flat = [&](const Tensor& first, const Tensor& second) {
    const Tensor x = Reshape(first, {cos.dim(0), cos.dim(1), cos.dim(3), 1});
    const Tensor y = Reshape(second, x.dims());
    return Reshape(Concatenate({x, y}, axis), {cos.dim(0), cos.dim(1), 2 * cos.dim(3)});
  };
  return {.rows = Concatenate({flat(cos, cos), flat(-sin, sin)}, 2), .layout = layout};
}

Rotated Rotary(const Tensor& q, const Tensor& k, const RotaryTable& table,
               const KernelTarget& target, const RotaryOptions& options) {
  CheckShapes(q, k, table);
  if (target.mode == pallas::Mode::kReference) {
    return {Reference(q, table), Reference(k, table)};
  }
  const int64_t rows = q.dim(0) * q.dim(1);
  const Tensor angles = AsRows(table.rows);
  const auto rotate = [=](std::span<const Tensor> heads, const Tensor& at, bool inverse) {
    const Rotation rotation{
        .head_dim = heads[0].dim(3), .layout = table.layout, .inverse = inverse};
    std::vector<Tensor> flat;
    for (const Tensor& x : heads) flat.push_back(Reshape(x, {rows, -1}));
    std::vector<Tensor> rotated = Rotate(flat, at, rotation, target, options);
    for (size_t i = 0; i < heads.size(); ++i) rotated[i] = Reshape(rotated[i], heads[i].dims());
    return rotated;
  };
  const std::vector<Tensor> rotated = CustomVjp(
      {q, k},
      [&](std::span<const Tensor> heads) -> CustomVjpOutput {
        return {.outputs = rotate(heads, angles, false), .residuals = {angles}};
      },
      [rotate](std::span<const Tensor> saved, std::span<const Tensor> grads) {
        return rotate(grads, saved[0], true);
      });
  return {rotated[0], rotated[1]};
}

}  // namespace sophia::kernels
