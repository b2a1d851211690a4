// Kernels with loops, branches, a grid, parts of refs, and the random numbers of a program.
#include "tests/pallas/op_kernels.h"

namespace sophia::pallas {
namespace {

constexpr DType kF32 = DType::kF32;
constexpr DType kS32 = DType::kS32;

// Branches and loops over values, SMEM and VMEM; loop bounds come from SMEM.
TestKernel Control() {
  TestKernel kernel = RowsKernel(
      "control", {{kS32, {1, 4}}, {kF32, {32, 128}}}, 4 * 8, [](const KernelRefs& r, Rows& out) {
        const Ref& counts = r.scratch[0];
        const Val limit = r.in[0].At({0, 1}).Load() + 2;
        counts.At({0}).Store(0);
        const Values sums = For(0, limit, {pallas::Full({kF32, {8, 128}}, 0), limit},
                                [&](const Val& i, const Values& carry) {
                                  counts.At({0}).Store(counts.At({0}).Load() + i);
                                  const Val rows = r.in[1].At({Ds((i % 4) * 8, 8)}).Load();
                                  return Values{carry[0] + rows, carry[1] - 1};
                                });
        out.Add(sums[0] + Convert(sums[1] + counts.At({0}).Load(), kF32));
        const Values doubled = While(
            {limit, pallas::Full({kF32, {8, 128}}, 1)},
            [](const Values& carry) { return carry[0] > 0; },
            [](const Values& carry) {
              return Values{carry[0] - 1, carry[1] * 2.0};
            });
        out.Add(doubled[1]);
        const Values met = While(
            {limit}, [&](const Values& carry) { return carry[0] < counts.At({0}).Load() + 9; },
            [&](const Values& carry) {
              counts.At({0}).Store(counts.At({0}).Load() - 1);
              return Values{carry[0] + 1};
            });
        out.Add(pallas::Full({kF32, {8, 128}}, 1) * Convert(met[0], kF32));
        When(
            Eq(limit % 2, 0), [&] { counts.At({1}).Store(3); },
            [&] {
              When(
                  limit > 2, [&] { counts.At({1}).Store(5); }, [&] { counts.At({1}).Store(7); });
            });
        const Val first = r.in[1].At({Ds(0, 8)}).Load();
        const Values chosen = Cond(
            limit > 3,
            [&] {
              return Values{first, limit};
            },
            [&] {
              return Values{Exp(first), limit * 2};
            });
        out.Add(chosen[0] * Convert(chosen[1] + counts.At({1}).Load(), kF32));
      });
  kernel.spec.in_specs[0].space = MemorySpace::kSmem;
  kernel.spec.scratch_shapes = {Smem(kS32, {2})};
  return kernel;
}

// Dynamic parts, masks, squeezed blocks; the output block is accumulated over the inner dimension.
TestKernel Parts() {
  const Shape x{kF32, {3, 4, 32, 128}};
  TestKernel kernel{.name = "parts"};
  kernel.spec = {.name = "parts",
                 .grid = {3, 4},
                 .in_specs = {{.block = {kSqueezed, kSqueezed, 32, 128},
                               .index_map =
                                   [](const GridIndex& i) {
                                     return BlockIndex{i[0], i[1], 0, 0};
                                   }},
                              {.block = {3, 4}, .space = MemorySpace::kSmem}},
                 .out_shapes = {{kF32, {3, 32, 128}}},
                 .out_specs = {{.block = {1, 32, 128},
                                .index_map =
                                    [](const GridIndex& i) {
                                      return BlockIndex{i[0], 0, 0};
                                    },
                                .single_buffer = true}},
                 .scratch_shapes = {Vmem(kF32, {4, 32, 128})}};
  kernel.inputs = {x, {kS32, {3, 4}}};
  kernel.body = [](const KernelRefs& r) {
    const Val slot = ProgramId(1);
    const Ref cell = r.scratch[0].At({slot});
    cell.Store(r.in[0].Load());
    const Val row = r.in[1].At({ProgramId(0), slot}).Load();
    cell.At({Ds(row, 1)}).Store(9.0);
    const Val eight = AssumeMultiple(row * 4 + row * 4, 8);
    const Val part = cell.At({Ds(Min(eight, 24), 8)}).Load();
    const Val lanes = Iota({32, 128}, 1);
    cell.Store(Concatenate({part, part, part, part}, 0), {.mask = lanes < row * 16});
    const Val value = cell.Load({.mask = lanes > 3, .other = 0.5});
    const Ref out = r.out[0].At({0});
    When(Eq(slot, 0), [&] { out.Store(value); });
    When(slot > 0, [&] { out.Store(out.Load() + value); });
  };
  return kernel;
}

// 100 x 200 in blocks of 32 x 128: the last blocks stick out, the contracted dimension is masked.
TestKernel Ragged() {
  TestKernel kernel{.name = "ragged"};
  const auto map = [](const GridIndex& i) { return BlockIndex{i[0], i[1]}; };
  kernel.spec = {.name = "ragged",
                 .grid = {4, 2},
                 .in_specs = {{.block = {32, 128}, .index_map = map}},
                 .out_shapes = {{kF32, {100, 200}}, {kF32, {100, 128}}},
                 .out_specs = {{.block = {32, 128}, .index_map = map},
                               {.block = {32, 128}, .index_map = [](const GridIndex& i) {
                                  return BlockIndex{i[0], 0};
                                }}}};
  kernel.inputs = {{kF32, {100, 200}}};
  kernel.body = [](const KernelRefs& r) {
    const Val x = r.in[0].Load();
    r.out[0].Store(x * 2.0);
    const Val lane = Iota({32, 128}, 1) + ProgramId(1) * 128;
    const Val sum = Sum(Select(lane < 200, x, 0.0), {1}, {.keep_dims = true});
    When(Eq(ProgramId(1), 0), [&] { r.out[1].Store(0.0); });
    r.out[1].Store(r.out[1].Load() + sum);
  };
  return kernel;
}

// What is undefined on a TPU is NaN here: scratch, output rows that nothing stores, padding.
TestKernel Undefined() {
  TestKernel kernel{.name = "undefined"};
  kernel.spec = {.name = "undefined",
                 .grid = {2},
                 .in_specs = {{.block = {64, 128},
                               .index_map =
                                   [](const GridIndex& i) {
                                     return BlockIndex{i[0], 0};
                                   }}},
                 .out_shapes = {{kF32, {96, 128}}, {kF32, {2, 8, 128}}},
                 .out_specs = {{.block = {48, 128},
                                .index_map =
                                    [](const GridIndex& i) {
                                      return BlockIndex{1 - i[0], 0};
                                    }},
                               {.block = {1, 8, 128},
                                .index_map =
                                    [](const GridIndex& i) {
                                      return BlockIndex{i[0], 0, 0};
                                    }}},
                 .scratch_shapes = {Vmem(kF32, {8, 128})}};
  kernel.inputs = {{kF32, {100, 128}}};
  kernel.body = [](const KernelRefs& r) {
    r.out[0].At({Ds(0, 40)}).Store(r.in[0].At({Ds(0, 40)}).Load());
    r.out[1].Store(Reshape(r.scratch[0].Load(), {1, 8, 128}));
    r.scratch[0].Store(4.0);
  };
  return kernel;
}

TestKernel Random() {
  TestKernel kernel =
      RowsKernel("random", {{kS32, {1, 1}}}, 2 * 8, [](const KernelRefs& r, Rows& out) {
        const Val seed = r.in[0].At({0, 0}).Load();
        PrngSeed({seed});
        PrngSeed({seed, seed + 1});
        out.Add(Convert(ShiftRightLogical(PrngBits({8, 128}), 8), kF32));
        out.Add(Convert(ShiftRightLogical(PrngBits({8, 128}), 8), kF32));
      });
  kernel.spec.in_specs[0].space = MemorySpace::kSmem;
  return kernel;
}

}  // namespace

std::vector<TestKernel> GridKernels() {
  return {Control(), Parts(), Ragged(), Undefined(), Random()};
}

}  // namespace sophia::pallas
