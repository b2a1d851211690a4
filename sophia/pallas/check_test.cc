// Each rule broken once: the error names kernel, operand, rule, nearest legal choice and line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/base/error_for_test.h"
#include "sophia/pallas/kernel.h"

namespace sophia::pallas {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr DType kF32 = DType::kF32;

BlockIndex FirstAxis(const GridIndex& i) { return {i[0], 0}; }

// Copies [512, 256] in four blocks.
KernelSpec CopySpec() {
  const BlockSpec rows{.block = {128, 256}, .index_map = FirstAxis};
  return {.name = "copy",
          .grid = {4},
          .in_specs = {rows},
          .out_shapes = {{kF32, {512, 256}}},
          .out_specs = {rows}};
}

void Nothing(const KernelRefs& /*refs*/) {}

std::string ErrorOf(const KernelSpec& spec, const KernelBody& body = Nothing,
                    std::optional<Chip> chip = std::nullopt,
                    const std::vector<Shape>& inputs = {{kF32, {512, 256}}}) {
  return MessageOf([&] { TraceKernel(spec, body, inputs, chip); });
}

TEST(BlockRulesTest, SizesFitTiles) {
  KernelSpec spec = CopySpec();
  spec.in_specs[0].block = {100, 256};
  EXPECT_THAT(
      ErrorOf(spec),
      AllOf(HasSubstr("check_test.cc:"), HasSubstr("kernel 'copy': in[0]"),
            HasSubstr("multiple of 8 or all of the 512 elements along dimension 0, got 100; "
                      "nearest 104 or 512")));
  spec.in_specs[0].block = {128, 64};
  EXPECT_THAT(ErrorOf(spec), HasSubstr("along dimension 1, got 64; nearest 128 or 256"));
  spec.in_specs[0].block = {128};
  EXPECT_THAT(ErrorOf(spec), HasSubstr("expected a block of rank 2 as f32[512, 256], got [128]"));
  spec.in_specs[0].block = {128, kSqueezed};
  EXPECT_THAT(ErrorOf(spec), HasSubstr("expected kSqueezed in leading dimensions"));
  spec = CopySpec();
  spec.grid = {};
  EXPECT_THAT(ErrorOf(spec), HasSubstr("expected the whole array f32[512, 256] as block"));
}

TEST(BlockRulesTest, OneDimensionFillsTiles) {
  KernelSpec spec = CopySpec();
  spec.in_specs[0] = {.block = {128},
                      .index_map = [](const GridIndex& i) { return BlockIndex{i[0]}; }};
  EXPECT_EQ(ErrorOf(spec, Nothing, {}, {{kF32, {512}}}), "no error");
  EXPECT_THAT(ErrorOf(spec, Nothing, {}, {{DType::kBF16, {512}}}),
              HasSubstr("multiple of 256 or all of the 512 elements"));
}

TEST(WindowRulesTest, BlocksLieInsideTheArray) {
  KernelSpec spec = CopySpec();
  spec.grid = {5};
  EXPECT_THAT(
      ErrorOf(spec),
      HasSubstr("in[0]: expected block indices below 4 along dimension 0 of f32[512, 256] in "
                "blocks [128, 256], got 4 for program [4]"));
  spec = CopySpec();
  spec.out_specs[0].index_map = [](const GridIndex& i) { return BlockIndex{i[0] - 1, 0}; };
  EXPECT_THAT(ErrorOf(spec), AllOf(HasSubstr("out[0]"), HasSubstr("got -1 for program [0]")));
  spec.out_specs[0].index_map = [](const GridIndex& i) { return BlockIndex{i[0]}; };
  EXPECT_THAT(ErrorOf(spec), HasSubstr("out[0]: expected an index map that gives 2 block indices"));
  // A large grid is looked at in its corners.
  spec = CopySpec();
  spec.grid = {4, 100000};
  EXPECT_EQ(ErrorOf(spec), "no error");
  spec.in_specs[0].index_map = [](const GridIndex& i) { return BlockIndex{i[0], i[1]}; };
  EXPECT_THAT(ErrorOf(spec), HasSubstr("got 99999 for program [0, 99999]"));
}

TEST(SpecRulesTest, CountsAndTypes) {
  KernelSpec spec = CopySpec();
  spec.name = "not a name";
  EXPECT_THAT(ErrorOf(spec), HasSubstr("expected a name of letters"));
  spec = CopySpec();
  spec.in_specs.push_back({});
  EXPECT_THAT(ErrorOf(spec), HasSubstr("expected 1 in_specs"));
  spec = CopySpec();
  spec.dimension_semantics = {DimensionSemantics::kParallel, DimensionSemantics::kParallel};
  EXPECT_THAT(ErrorOf(spec), HasSubstr("expected 1 dimension_semantics"));
  spec = CopySpec();
  spec.num_scalar_prefetch = 2;
  EXPECT_THAT(ErrorOf(spec),
              HasSubstr("expected num_scalar_prefetch from 0 to the 1 inputs, got 2"));
  spec = CopySpec();
  spec.input_output_aliases = {{0, 1}};
  EXPECT_THAT(ErrorOf(spec), HasSubstr("expected an input and an output, got 0 and 1"));
  spec = CopySpec();
  for (const DType dtype : {DType::kF64, DType::kF16, DType::kS64, DType::kBool}) {
    EXPECT_THAT(ErrorOf(spec, Nothing, {}, {{dtype, {512, 256}}}),
                HasSubstr(fmt::format("got {}", Name(dtype))));
  }
}

TEST(MemoryRulesTest, VmemOfTheChip) {
  KernelSpec spec = CopySpec();
  spec.scratch_shapes = {Vmem(kF32, {4096, 1024})};
  EXPECT_EQ(ErrorOf(spec), "no error");
  // 16 MiB of scratch, and two blocks of 128 KiB twice each.
  EXPECT_THAT(ErrorOf(spec, Nothing, Chip::kV5e),
              AllOf(HasSubstr("within 16777216 bytes of VMEM on TPU v5e, got 17301504"),
                    HasSubstr("in[0] f32[128, 256] twice"),
                    HasSubstr("set vmem_limit_bytes up to 134217728 or take smaller blocks, such "
                              "as f32[3968, 1024] for scratch[0]")));
  EXPECT_THAT(ErrorOf(spec, Nothing, Chip::kV4),
              HasSubstr("scratch[0] f32[4096, 1024]); take smaller blocks, such as f32[3968, "
                        "1024] for scratch[0]"));
  spec.vmem_limit_bytes = 32 << 20;
  EXPECT_EQ(ErrorOf(spec, Nothing, Chip::kV5e), "no error");
  spec.scratch_shapes = {Vmem(kF32, {3968, 1024})};
  EXPECT_EQ(ErrorOf(spec, Nothing, Chip::kV4), "no error");
  spec.scratch_shapes = {Vmem(kF32, {4096, 1024}), Vmem(kF32, {4096, 1024})};
  EXPECT_THAT(ErrorOf(spec, Nothing, Chip::kV4),
              HasSubstr("take blocks about 3 times smaller in all"));
  spec = CopySpec();
  spec.scratch_shapes = {Smem(kF32, {8192})};
  EXPECT_THAT(
      ErrorOf(spec, Nothing, Chip::kV2),
      HasSubstr("expected smem refs within 16384 bytes on TPU v2, which hold 4096 numbers of 32 "
                "bits, got 32768 (scratch[0] f32[8192])"));
}

TEST(MemoryRulesTest, NarrowArraysFillTiles) {
  KernelSpec spec{
      .name = "narrow", .in_specs = {{}}, .out_shapes = {{kF32, {8, 128}}}, .out_specs = {{}}};
  const Kernel kernel = TraceKernel(spec, Nothing, {{kF32, {1024, 1}}});
  EXPECT_EQ(VmemBytes(kernel), 1024 * 128 * 4 + 8 * 128 * 4);
}

TEST(RefRulesTest, PartsAndAlignment) {
  const auto error = [](const KernelBody& body) { return ErrorOf(CopySpec(), body); };
  EXPECT_THAT(error([](const KernelRefs& r) { r.in[0].At({Ds(100, 32)}).Load(); }),
              HasSubstr("in[0]: expected a part of dimension 0 of f32[128, 256], got 32 elements "
                        "from 100 on"));
  EXPECT_THAT(error([](const KernelRefs& r) {
                r.in[0].At({0, 0, 0}).Load();
              }),
              HasSubstr("expected at most 2 positions, got 3"));
  EXPECT_THAT(error([](const KernelRefs& r) { r.in[0].At({Ds(ProgramId(0) * 4, 8)}).Load(); }),
              HasSubstr("known to be a multiple of 8, got one that is known to be one of 4"));
  EXPECT_THAT(error([](const KernelRefs& r) {
                r.in[0].At({All{}, Ds(ProgramId(0) * 64, 128)}).Load();
              }),
              HasSubstr("along dimension 1 that is known to be a multiple of 128"));
  EXPECT_EQ(error([](const KernelRefs& r) {
              r.in[0].At({Ds(AssumeMultiple(ProgramId(0), 8), 8)}).Load();
              r.in[0].At({Ds(ProgramId(0) * 16 + 8, 8)}).Load();
              r.in[0].At({Ds(ProgramId(0), 1)}).Load();
            }),
            "no error");
  EXPECT_THAT(error([](const KernelRefs& r) {
                r.in[0].At({0, 0}).Load();
              }),
              HasSubstr("expected a vector to load, got a single element"));
  EXPECT_THAT(error([](const KernelRefs& r) { r.in[0].Store(0.0); }),
              HasSubstr("in[0]: expected an output or scratch to store, got an input"));
  EXPECT_THAT(
      error([](const KernelRefs& r) { r.out[0].Store(Convert(r.in[0].Load(), DType::kBF16)); }),
      HasSubstr("out[0]: expected a value f32[128, 256] to store, got bf16[128, 256]; "
                "Convert it first"));
}

TEST(ValueRulesTest, TypesAndScopes) {
  const auto error = [](const KernelBody& body) { return ErrorOf(CopySpec(), body); };
  EXPECT_THAT(
      error([](const KernelRefs& r) {
        r.out[0].Store(r.in[0].Load() + Convert(r.in[0].Load(), DType::kBF16));
      }),
      AllOf(HasSubstr("check_test.cc:"), HasSubstr("add: expected operands of one element type"),
            HasSubstr("convert one of them")));
  EXPECT_THAT(error([](const KernelRefs& r) { Exp(Convert(r.in[0].Load(), DType::kS32)); }),
              HasSubstr("exp: expected float operands, got s32"));
  EXPECT_THAT(
      error([](const KernelRefs& r) {
        const Val x = Convert(r.in[0].Load(), DType::kS8);
        Add(x, x);
      }),
      HasSubstr("add: expected integers of at least 16 bits, got s8; convert to s32 first"));
  EXPECT_THAT(error([](const KernelRefs& r) { Dot(r.in[0].Load(), r.in[0].Load()); }),
              HasSubstr("dot: expected [M, K] x [K, N], got f32[128, 256] and f32[128, 256]"));
  EXPECT_THAT(error([](const KernelRefs& r) {
                const Val x = r.in[0].Load();
                Dot(Convert(x, DType::kBF16), x, {.transpose_rhs = true});
              }),
              AllOf(HasSubstr("check_test.cc:"),
                    HasSubstr("dot: expected operands of one element type, got bf16[128, 256] and "
                              "f32[128, 256]; convert one of them")));
  EXPECT_THAT(error([](const KernelRefs& r) {
                const Val x = Convert(r.in[0].Load(), DType::kBF16);
                Dot(x, x, {.transpose_rhs = true, .acc = Full({DType::kBF16, {128, 128}}, 0)});
              }),
              HasSubstr("dot: expected an accumulator f32[128, 128], got bf16[128, 128]"));
  EXPECT_THAT(error([](const KernelRefs& r) {
                Val inner;
                When(ProgramId(0) > 0, [&] { inner = r.in[0].Load(); });
                r.out[0].Store(inner);
              }),
              HasSubstr("got one from a branch or loop that has ended"));
  EXPECT_THAT(error([](const KernelRefs& /*r*/) {
                For(0, 4, {ProgramId(0)}, [](const Val& i, const Values& /*carry*/) {
                  return Values{i, i};
                });
              }),
              HasSubstr("for: expected a body that returns the carry (s32[]), got (s32[], s32[])"));
  for (const bool draws : {false, true}) {
    EXPECT_THAT(error([draws](const KernelRefs& r) {
                  While(
                      {ProgramId(0)},
                      [&](const Values& carry) {
                        draws ? static_cast<void>(PrngBits({8, 128})) : r.out[0].Store(0.0);
                        return carry[0] > 0;
                      },
                      [](const Values& carry) { return carry; });
                }),
                HasSubstr("while: expected a condition that writes no ref and draws no random"));
  }
  EXPECT_THAT(error([](const KernelRefs& /*r*/) { Iota({128}, 0); }),
              HasSubstr("iota: expected at least two dimensions"));
}

TEST(ValueRulesTest, WhatAChipLacks) {
  const KernelBody bf16_dot = [](const KernelRefs& r) {
    const Val x = Convert(r.in[0].Load(), DType::kBF16);
    Dot(x, x, {.transpose_rhs = true});
  };
  EXPECT_THAT(ErrorOf(CopySpec(), bf16_dot, Chip::kV3),
              HasSubstr("dot: on TPU v3: expected f32 operands, got bf16; convert both to f32"));
  EXPECT_EQ(ErrorOf(CopySpec(), bf16_dot, Chip::kV4), "no error");
  const KernelBody column = [](const KernelRefs& r) {
    Reshape(Sum(r.in[0].Load(), {1}, {.keep_dims = true}), {1, 128});
  };
  EXPECT_THAT(ErrorOf(CopySpec(), column, Chip::kV4), HasSubstr("Transpose and Slice instead"));
  EXPECT_EQ(ErrorOf(CopySpec(), column, Chip::kV5e), "no error");
}

TEST(DmaRulesTest, ShapesAndSemaphores) {
  KernelSpec spec{.name = "dma",
                  .in_specs = {{.space = MemorySpace::kAny}},
                  .out_shapes = {{kF32, {512, 256}}},
                  .out_specs = {{.space = MemorySpace::kAny}},
                  .scratch_shapes = {Vmem(kF32, {8, 256}), DmaSemaphore({2})}};
  EXPECT_THAT(
      ErrorOf(spec, [](const KernelRefs& r) { r.in[0].Load(); }),
      HasSubstr("in[0]: expected a ref in vmem or smem to load, got one in any; AsyncCopy"));
  EXPECT_THAT(
      ErrorOf(spec,
              [](const KernelRefs& r) { AsyncCopy(r.in[0], r.scratch[0], r.scratch[1].At({0})); }),
      HasSubstr("async_copy: expected refs of one shape"));
  EXPECT_THAT(ErrorOf(spec,
                      [](const KernelRefs& r) {
                        AsyncCopy(r.in[0].At({Ds(0, 8)}), r.scratch[0], r.scratch[1]);
                      }),
              HasSubstr("expected a single semaphore"));
  EXPECT_THAT(ErrorOf(spec,
                      [](const KernelRefs& r) {
                        AsyncCopy(r.in[0].At({All{}, Ds(64, 128)}),
                                  r.out[0].At({All{}, Ds(0, 128)}), r.scratch[1].At({1}))
                            .Start();
                      }),
              HasSubstr("expected a DMA to start at a multiple of 128"));
}

}  // namespace
}  // namespace sophia::pallas
