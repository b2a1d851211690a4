// What kernel functions refuse: each message says what was expected and what came.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/base/error.h"
#include "sophia/kernels/dropout.h"
#include "sophia/kernels/flash_attention.h"
#include "sophia/kernels/glu.h"
#include "sophia/kernels/quant_matmul.h"
#include "sophia/kernels/rms_norm.h"
#include "sophia/kernels/rotary.h"

namespace sophia::kernels {
namespace {

constexpr DType kBF16 = DType::kBF16;
constexpr DType kF32 = DType::kF32;
constexpr DType kS32 = DType::kS32;
const KernelTarget kTarget = {pallas::Mode::kMosaic, pallas::Chip::kV5e};

struct Refusal {
  std::string name;
  std::vector<Shape> inputs;
  std::function<void(std::span<const Tensor>)> call;
  std::string message;
};

void Attend(std::span<const Tensor> in) {
  FlashAttention(in[0], in[1], in[2], kTarget, {.segments = in.size() > 3 ? in[3] : Tensor()});
}

std::vector<Refusal> Refusals() {
  const Shape q{kBF16, {1, 128, 4, 64}};
  const Shape k{kBF16, {1, 128, 2, 64}};
  const auto keys = [](const Dims& dims) { return Shape{kBF16, dims}; };
  const std::string attention =
      "[flash_attention] expected q [B, T, H, D] and k, v [B, T, K, D] with K dividing H, all bf16 "
      "or all f32, got ";
  return {
      {"flash_groups",
       {q, keys({1, 128, 3, 64}), keys({1, 128, 3, 64})},
       Attend,
       attention + "bf16[1, 128, 4, 64], bf16[1, 128, 3, 64] and bf16[1, 128, 3, 64]"},
      {"flash_types",
       {q, {kF32, k.dims}, k},
       Attend,
       attention + "bf16[1, 128, 4, 64], f32[1, 128, 2, 64] and bf16[1, 128, 2, 64]"},
      {"flash_integers",
       {{kS32, q.dims}, {kS32, k.dims}, {kS32, k.dims}},
       Attend,
       attention + "s32[1, 128, 4, 64]"},
      {"flash_lengths", {q, keys({1, 64, 2, 64}), keys({1, 64, 2, 64})}, Attend, attention},
      {"flash_values", {q, k, keys({1, 128, 4, 64})}, Attend, attention},
      {"flash_segments",
       {q, k, k, {kS32, {128}}},
       Attend,
       "[flash_attention] expected segments s32[1, 128], got s32[128]"},
      {"flash_segment_types",
       {q, k, k, {kF32, {1, 128}}},
       Attend,
       "[flash_attention] expected segments s32[1, 128], got f32[1, 128]"},
      {"flash_blocks",
       {q, k, k},
       [](std::span<const Tensor> in) {
         FlashAttention(in[0], in[1], in[2], kTarget, {}, {.q = 100, .k = 128});
       },
       "[flash_attention] expected blocks in multiples of 128, one dividing the other, got 100 "
       "queries and 128 keys"},
      {"rms_norm_weight",
       {{kBF16, {8, 128}}, {kBF16, {64}}},
       [](std::span<const Tensor> in) { RmsNorm(in[0], in[1], kTarget, {}); },
       "[rms_norm] expected a weight [128], got bf16[64]"},
      {"add_rms_norm_sizes",
       {{kBF16, {8, 128}}, {kBF16, {16, 128}}, {kBF16, {128}}},
       [](std::span<const Tensor> in) { AddRmsNorm(in[0], in[1], in[2], kTarget, {}); },
       "as bf16[8, 128], got bf16[16, 128]"},
      {"glu_sizes",
       {{kBF16, {8, 128}}, {kBF16, {8, 256}}},
       [](std::span<const Tensor> in) { GatedLinearUnit(in[0], in[1], kTarget, {}); },
       "as bf16[8, 128], got bf16[8, 256]"},
      {"dropout_rate",
       {{kBF16, {8, 128}}, {kS32, {2}}},
       [](std::span<const Tensor> in) { Dropout(in[0], in[1], kTarget, {.rate = 1}); },
       "[dropout] expected a rate of at least 0 and below 1, got 1"},
      {"dropout_key",
       {{kBF16, {8, 128}}, {kS32, {3}}},
       [](std::span<const Tensor> in) { Dropout(in[0], in[1], kTarget, {.rate = 0.5}); },
       "[dropout] expected a key s32[2], got s32[3]"},
      {"rotary_table",
       {q, k, {kF32, {1, 128, 64}}},
       [](std::span<const Tensor> in) { Rotary(in[0], in[1], {.rows = in[2]}, kTarget); },
       "[rotary] expected "},
      {"quant_matmul_sizes",
       {{kBF16, {8, 64}}, {DType::kS8, {128, 128}}, {kF32, {1, 128}}},
       [](std::span<const Tensor> in) {
         QuantMatMul(in[0], *quant::FindPackedFormat("int8"), in.subspan(1), kTarget);
       },
       "[quant_matmul] expected x of bf16 or f32 and sizes [..., 128], got bf16[8, 64]"},
  };
}

TEST(KernelErrorsTest, SayWhatWasExpectedAndWhatCame) {
  for (const Refusal& refusal : Refusals()) {
    EXPECT_THAT(
        [&] {
          Graph graph;
          const Tracing tracing(graph);
          std::vector<Tensor> inputs;
          for (const Shape& shape : refusal.inputs) inputs.push_back(graph.AddInput(shape, {}));
          refusal.call(inputs);
        },
        testing::ThrowsMessage<Error>(testing::HasSubstr(refusal.message)))
        << refusal.name;
  }
}

}  // namespace
}  // namespace sophia::kernels
