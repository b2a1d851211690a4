#include <cmath>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/kernels/rotary.h"
#include "tests/kernels/kernel_case.h"

namespace sophia::kernels {
namespace {

struct RotaryCase {
  std::string name;  // "pairs": interleaved, as tests/python/kernel_references.py reads it
  Dims q = {2, 20, 4, 128};
  int64_t kv_heads = 2;
  DType dtype = DType::kF32;
  RotaryLayout layout = RotaryLayout::kHalves;
  int64_t block_rows = 16;
};

RotaryTable TableFor(const Tensor& positions, int64_t head_dim, RotaryLayout layout) {
  std::vector<float> frequencies;
  for (int64_t i = 0; i < head_dim; i += 2) {
    const double exponent = static_cast<double>(i) / static_cast<double>(head_dim);
    frequencies.push_back(static_cast<float>(std::pow(10000.0, -exponent)));
  }
  const Tensor at =
      Reshape(Convert(positions, DType::kF32), {positions.dim(0), positions.dim(1), 1, 1});
  const Tensor angles = at * ConstantF32({head_dim / 2}, frequencies);
  return MakeRotaryTable(Cos(angles), Sin(angles), layout);
}

KernelCase CaseOf(const RotaryCase& c) {
  Dims keys = c.q;
  keys[2] = c.kv_heads;
  return {.name = "rotary_" + c.name,
          .inputs = {{.shape = {c.dtype, c.q}, .differentiate = true},
                     {.shape = {c.dtype, keys}, .differentiate = true},
                     {.shape = {DType::kS32, {c.q[0], c.q[1]}},
                      .fill = [](int64_t, std::mt19937& random) { return random() % 500; }}},
          .trace =
              [c](std::span<const Tensor> in, const KernelTarget& target) {
                const RotaryTable table = TableFor(in[2], c.q[3], c.layout);
                const Rotated out =
                    Rotary(in[0], in[1], table, target, {.block_rows = c.block_rows});
                return std::vector{out.q, out.k};
              },
          .tolerance = c.dtype == DType::kBF16 ? 1e-2 : 2e-5};
}

}  // namespace

std::vector<KernelCase> RotaryCases() {
  constexpr auto kPairs = RotaryLayout::kInterleaved;
  const std::vector<RotaryCase> cases = {
      {.name = "head_64", .q = {1, 40, 3, 64}, .kv_heads = 1, .block_rows = 32},
      {.name = "head_128"},
      {.name = "head_80", .q = {1, 5, 9, 80}, .kv_heads = 1},
      {.name = "head_32", .q = {1, 9, 3, 32}, .kv_heads = 1},
      {.name = "head_96", .q = {1, 1, 4, 96}, .kv_heads = 4},
      {.name = "head_256", .q = {1, 17, 1, 256}, .kv_heads = 1},
      {.name = "bf16", .q = {2, 24, 3, 64}, .kv_heads = 3, .dtype = DType::kBF16},
      {.name = "pairs", .layout = kPairs, .block_rows = 0},
      {.name = "pairs_64", .q = {1, 40, 3, 64}, .kv_heads = 1, .layout = kPairs, .block_rows = 32},
      {.name = "pairs_80_bf16",
       .q = {1, 17, 8, 80},
       .kv_heads = 2,
       .dtype = DType::kBF16,
       .layout = kPairs},
  };
  std::vector<KernelCase> all;
  for (const RotaryCase& c : cases) all.push_back(CaseOf(c));
  return all;
}

}  // namespace sophia::kernels
