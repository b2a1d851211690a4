// What the cases of the linear cross-entropy do not show: errors, default blocks.
#include "sophia/kernels/linear_cross_entropy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "sophia/autodiff/autodiff.h"
#include "sophia/base/error_for_test.h"
#include "sophia/graph/ops/reduce_ops.h"

namespace sophia::kernels {
namespace {

using pallas::Mode;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr KernelTarget kInterpret{.mode = Mode::kInterpret};

class LinearCrossEntropyTest : public testing::Test {
 protected:
  Tensor Input(const Shape& shape) { return graph_.AddInput(shape, {.name = "x"}); }

  Graph graph_;
  Tracing tracing_{graph_};
};

TEST_F(LinearCrossEntropyTest, RefusesTheGradientOfAPackedHeadsScales) {
  const Tensor labels = Input({DType::kS32, {128}});
  const Tensor hidden = Input({DType::kF32, {128, 64}});
  const Tensor head = Input({DType::kS8, {256, 64}});
  for (const Mode mode : {Mode::kReference, Mode::kInterpret}) {
    const auto loss = [&](std::span<const Tensor> p) -> Loss {
      return {Sum(LinearCrossEntropy(hidden, head, labels, {.mode = mode}, {.head_scale = p[0]}))};
    };
    EXPECT_THAT(
        [&] {
          ValueAndGrad(loss, {Input({DType::kF32, {256}})});
        },
        ThrowsMessage<Error>(HasSubstr("expected a head of bf16 or f32")));
  }
}

TEST_F(LinearCrossEntropyTest, ErrorsNameTheOperand) {
  const Tensor hidden = Input({DType::kF32, {128, 64}});
  const Tensor head = Input({DType::kF32, {256, 64}});
  const Tensor labels = Input({DType::kS32, {128}});
  const auto expect = [&](const Tensor& h, const Tensor& w, const Tensor& l,
                          const LinearCrossEntropyOptions& options, const char* message) {
    EXPECT_THAT([&] { LinearCrossEntropy(h, w, l, kInterpret, options); },
                ThrowsMessage<Error>(HasSubstr(message)));
  };
  expect(Input({DType::kF32, {2, 64, 64}}), head, labels, {}, "hidden states f32 or bf16 [N, D]");
  expect(hidden, Input({DType::kF32, {256, 32}}), labels, {}, "expected a head [V, 64] of f32");
  expect(hidden, Input({DType::kBF16, {256, 64}}), labels, {}, "expected a head [V, 64] of f32");
  expect(hidden, head, Input({DType::kS32, {127}}), {}, "expected labels s32 [128]");
  expect(hidden, Input({DType::kS8, {256, 64}}), labels, {}, "expected scales f32 [256]");
  expect(hidden, head, labels, {.head_scale = Input({DType::kF32, {256}})}, "expected no scales");
  expect(hidden, head, labels, {.soft_cap = -1}, "a soft cap of at least 0");
  expect(hidden, head, labels, {.forward = {.tokens = 100}}, "multiples of 128, got 100");
}

struct Figures {
  double intensity;  // FLOPs for each byte of HBM
  int64_t vmem;
};

// Of the forward and the backward kernel at a model's shape, tokens [8192, size].
std::vector<Figures> FiguresOf(pallas::Chip chip, int64_t size, int64_t vocab, DType hidden,
                               DType head) {
  std::vector<Figures> figures;
  const pallas::CallObserver observer([&](const pallas::Kernel& kernel, std::span<const Tensor>,
                                          std::span<const Tensor>) {
    const pallas::CostEstimate& cost = *kernel.spec.cost_estimate;
    figures.push_back({static_cast<double>(cost.flops) / static_cast<double>(cost.bytes_accessed),
                       VmemBytes(kernel)});
  });
  Graph graph;
  const Tracing tracing(graph);
  const auto input = [&](const Shape& shape) { return graph.AddInput(shape, {.name = "x"}); };
  const Tensor weight = input({head, {vocab, size}});
  const Tensor labels = input({DType::kS32, {8192}});
  LinearCrossEntropyOptions options;
  if (head == DType::kS8) options.head_scale = input({DType::kF32, {vocab}});
  const auto loss = [&](std::span<const Tensor> p) -> Loss {
    return {Sum(LinearCrossEntropy(p[0], weight, labels, {Mode::kMosaic, chip}, options))};
  };
  ValueAndGrad(loss, {input({hidden, {8192, size}})});
  return figures;
}

// Tracing checks VMEM; the figures say that matrix products, not the head's way from HBM, take the
// time.
TEST(LinearCrossEntropyPlanTest, IsBoundByProductsOnEveryChip) {
  constexpr std::array<std::array<int64_t, 2>, 4> kShapes = {
      {{576, 49152}, {2048, 128256}, {4096, 151936}, {2560, 262208}}};
  for (const pallas::ChipInfo& info : pallas::AllChips()) {
    const double ridge = info.bf16_flops / info.hbm_bandwidth;
    for (const auto& [size, vocab] : kShapes) {
      for (const DType head : {DType::kBF16, DType::kS8}) {
        const std::vector<Figures> figures = FiguresOf(info.chip, size, vocab, DType::kBF16, head);
        ASSERT_EQ(figures.size(), 2u);
        for (const Figures& kernel : figures) {
          EXPECT_GT(kernel.intensity, 1.5 * ridge)
              << info.name << ", head [" << vocab << ", " << size << "] of " << Name(head);
        }
      }
      for (const Figures& kernel : FiguresOf(info.chip, size, vocab, DType::kF32, DType::kF32)) {
        EXPECT_LE(kernel.vmem, info.vmem_max);
      }
    }
  }
}

}  // namespace
}  // namespace sophia::kernels
