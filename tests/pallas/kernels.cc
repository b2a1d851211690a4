#include "tests/pallas/kernels.h"

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"

namespace sophia::pallas {
namespace {

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;
using enum DimensionSemantics;

BlockIndex Rows(const GridIndex& i) { return {i[0], 0}; }

TestKernel AddKernel() {
  const Shape array{DType::kF32, {64, 256}};
  const BlockSpec rows{.block = {32, 256}, .index_map = Rows};
  return {.name = "add",
          .spec = {.name = "add",
                   .grid = {2},
                   .dimension_semantics = {kParallel},
                   .in_specs = {rows, rows},
                   .out_shapes = {array},
                   .out_specs = {rows}},
          .body = [](const KernelRefs& r) { r.out[0].Store(r.in[0].Load() + r.in[1].Load()); },
          .inputs = {array, array},
          .reference = [](In in) { return Out{in[0] + in[1]}; }};
}

TestKernel RmsNormKernel() {
  const Shape x{DType::kBF16, {64, 256}};
  return {
      .name = "rmsnorm",
      .spec = {.name = "rmsnorm",
               .grid = {2},
               .dimension_semantics = {kParallel},
               .in_specs = {{.block = {32, 256}, .index_map = Rows}, {.block = {1, 256}}},
               .out_shapes = {x},
               .out_specs = {{.block = {32, 256}, .index_map = Rows}}},
      .body =
          [](const KernelRefs& r) {
            const Val value = Convert(r.in[0].Load(), DType::kF32);
            const Val mean =
                Sum(value * value, {1}, {.keep_dims = true}) / static_cast<double>(value.dim(1));
            const Val y = value * Rsqrt(mean + 1e-6) * r.in[1].Load();
            r.out[0].Store(Convert(y, DType::kBF16));
          },
      .inputs = {x, {DType::kF32, {1, 256}}},
      .reference =
          [](In in) {
            const Tensor value = sophia::Convert(in[0], DType::kF32);
            const Tensor mean = Mean(value * value, {1}, {.keep_dims = true});
            return Out{sophia::Convert(value * sophia::Rsqrt(mean + 1e-6) * in[1], DType::kBF16)};
          },
      .tolerance = 1e-2};
}

// Blocks of the first input in the order that the prefetched indices give, scaled by an SMEM
// scalar.
TestKernel ScalarPrefetchKernel() {
  const Shape x{DType::kF32, {512, 128}};
  return {
      .name = "scalar_prefetch",
      .spec = {.name = "scalar_prefetch",
               .grid = {4},
               .num_scalar_prefetch = 1,
               .in_specs = {{.block = {128, 128},
                             .index_map =
                                 [](const GridIndex& i) {
                                   return BlockIndex{i.prefetch[0].At({i[0]}).Load(), 0};
                                 }},
                            {.block = {1, 1}, .space = MemorySpace::kSmem}},
               .out_shapes = {x},
               .out_specs = {{.block = {128, 128}, .index_map = Rows}}},
      .body =
          [](const KernelRefs& r) {
            const Val index = Convert(r.prefetch[0].At({ProgramId(0)}).Load(), DType::kF32);
            r.out[0].Store(r.in[0].Load() * r.in[1].At({0, 0}).Load() + index);
          },
      .inputs = {{DType::kS32, {4}}, x, {DType::kF32, {1, 1}}},
      .reference =
          [](In in) {
            const Tensor blocks = sophia::Reshape(in[1], {4, 128, 128});
            const Tensor index = sophia::Reshape(sophia::Convert(in[0], DType::kF32), {4, 1, 1});
            const Tensor taken = Take(blocks, in[0], 0) * sophia::Reshape(in[2], {1, 1, 1});
            return Out{sophia::Reshape(taken + index, {512, 128})};
          }};
}

// inputs: hyperparameters [1, 4] (learning rate, beta1, beta2, epsilon), gradient, parameter,
// moments.
TestKernel AdamKernel() {
  const Shape x{DType::kF32, {256, 128}};
  const BlockSpec rows{.block = {128, 128}, .index_map = Rows};
  return {
      .name = "adam",
      .spec = {.name = "adam",
               .grid = {2},
               .dimension_semantics = {kParallel},
               .in_specs = {{.block = {1, 4}, .space = MemorySpace::kSmem}, rows, rows, rows, rows},
               .out_shapes = {x, x, x},
               .out_specs = {rows, rows, rows},
               .input_output_aliases = {{2, 0}, {3, 1}, {4, 2}}},
      .body =
          [](const KernelRefs& r) {
            const auto hyper = [&](int64_t i) { return r.in[0].At({0, i}).Load(); };
            const Val gradient = r.in[1].Load();
            const Val m = hyper(1) * r.in[3].Load() + (1.0 - hyper(1)) * gradient;
            const Val v = hyper(2) * r.in[4].Load() + (1.0 - hyper(2)) * gradient * gradient;
            r.out[0].Store(r.in[2].Load() - hyper(0) * m / (Sqrt(Abs(v)) + hyper(3)));
            r.out[1].Store(m);
            r.out[2].Store(v);
          },
      .inputs = {{DType::kF32, {1, 4}}, x, x, x, x},
      .reference =
          [](In in) {
            const auto hyper = [&](int64_t i) { return sophia::Slice(in[0], {0, i}, {1, i + 1}); };
            const Tensor m = hyper(1) * in[3] + (1.0 - hyper(1)) * in[1];
            const Tensor v = hyper(2) * in[4] + (1.0 - hyper(2)) * in[1] * in[1];
            const Tensor step = hyper(0) * m / (sophia::Sqrt(sophia::Abs(v)) + hyper(3));
            return Out{in[2] - step, m, v};
          },
      .tolerance = 1e-4};
}

// Copies 128 rows at a time from HBM while the block before is computed on.
TestKernel DoubleBufferKernel() {
  const Shape x{DType::kF32, {512, 256}};
  constexpr int64_t kRows = 128;
  constexpr int64_t kSteps = 4;
  return {.name = "dma_double_buffer",
          .spec = {.name = "dma_double_buffer",
                   .in_specs = {{.space = MemorySpace::kAny}},
                   .out_shapes = {x},
                   .out_specs = {{.space = MemorySpace::kAny}},
                   .scratch_shapes = {Vmem(DType::kF32, {2, kRows, 256}),
                                      Vmem(DType::kF32, {kRows, 256}), DmaSemaphore({2}),
                                      DmaSemaphore()}},
          .body =
              [](const KernelRefs& r) {
                const auto fetch = [&](Arg step, Arg slot) {
                  const Val rows = Mul(step, kRows);
                  return AsyncCopy(r.in[0].At({Ds(rows, kRows)}), r.scratch[0].At({slot.val()}),
                                   r.scratch[2].At({slot.val()}));
                };
                const Val zero = pallas::Full({DType::kS32, {}}, 0);
                fetch(zero, zero).Start();
                For(0, kSteps, [&](const Val& step) {
                  const Val slot = step % 2;
                  When(step + 1 < kSteps, [&] { fetch(step + 1, 1 - slot).Start(); });
                  fetch(step, slot).Wait();
                  r.scratch[1].Store(r.scratch[0].At({slot}).Load() * 3.0);
                  const AsyncCopy out(r.scratch[1], r.out[0].At({Ds(step * kRows, kRows)}),
                                      r.scratch[3]);
                  out.Start();
                  out.Wait();
                });
              },
          .inputs = {x},
          .reference = [](In in) { return Out{in[0] * 3.0}; }};
}

}  // namespace

TestKernel MatMulKernel(const MatMulConfig& c) {
  const Shape lhs{c.dtype, c.transpose_lhs ? Dims{c.k, c.m} : Dims{c.m, c.k}};
  const Shape rhs{c.dtype, c.transpose_rhs ? Dims{c.n, c.k} : Dims{c.k, c.n}};
  const auto index = [](bool transposed, size_t row, size_t column) {
    return [=](const GridIndex& i) {
      return transposed ? BlockIndex{i[column], i[row]} : BlockIndex{i[row], i[column]};
    };
  };
  const auto block = [](bool transposed, int64_t rows, int64_t columns) {
    return transposed ? Dims{columns, rows} : Dims{rows, columns};
  };
  TestKernel kernel;
  kernel.name = c.name;
  kernel.inputs = {lhs, rhs};
  kernel.spec = {
      .name = c.name,
      .grid = {c.m / c.block_m, c.n / c.block_n, c.k / c.block_k},
      .dimension_semantics = {kParallel, kParallel, kArbitrary},
      .in_specs = {{block(c.transpose_lhs, c.block_m, c.block_k), index(c.transpose_lhs, 0, 2)},
                   {block(c.transpose_rhs, c.block_k, c.block_n), index(c.transpose_rhs, 2, 1)}},
      .out_shapes = {{c.dtype, {c.m, c.n}}},
      .out_specs = {{{c.block_m, c.block_n}, index(false, 0, 1)}},
      .scratch_shapes = {Vmem(DType::kF32, {c.block_m, c.block_n})},
      .cost_estimate =
          CostEstimate{.flops = 2 * c.m * c.n * c.k, .bytes_accessed = lhs.bytes() + rhs.bytes()}};
  kernel.body = [c](const KernelRefs& r) {
    const Ref& acc = r.scratch[0];
    const Val k = ProgramId(2);
    When(Eq(k, 0), [&] { acc.Store(0.0); });
    acc.Store(Dot(
        r.in[0].Load(), r.in[1].Load(),
        {.transpose_lhs = c.transpose_lhs, .transpose_rhs = c.transpose_rhs, .acc = acc.Load()}));
    When(Eq(k, NumPrograms(2) - 1), [&] { r.out[0].Store(Convert(acc.Load(), c.dtype)); });
  };
  kernel.reference = [c](In in) {
    const Tensor product = DotGeneral(in[0], in[1],
                                      {.lhs_contract = {c.transpose_lhs ? 0 : 1},
                                       .rhs_contract = {c.transpose_rhs ? 1 : 0},
                                       .precision = Precision::kHighest,
                                       .result = DType::kF32});
    return Out{sophia::Convert(product, c.dtype)};
  };
  kernel.tolerance = c.dtype == DType::kF32 ? 1e-5 : 1e-2;
  if (c.dtype == DType::kBF16) kernel.from = Chip::kV4;
  return kernel;
}

std::vector<TestKernel> SampleKernels() {
  return {AddKernel(),
          MatMulKernel({.name = "matmul_bf16", .dtype = DType::kBF16}),
          MatMulKernel({.name = "matmul_f32_nt", .transpose_rhs = true}),
          MatMulKernel({.name = "matmul_f32_tn", .transpose_lhs = true}),
          RmsNormKernel(),
          ScalarPrefetchKernel(),
          AdamKernel(),
          DoubleBufferKernel()};
}

}  // namespace sophia::pallas
