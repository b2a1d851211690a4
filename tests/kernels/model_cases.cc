#include "tests/kernels/model_cases.h"

#include <algorithm>
#include <array>

#include "sophia/base/error.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/kernels/adamw.h"
#include "sophia/kernels/dropout.h"
#include "sophia/kernels/flash_attention.h"
#include "sophia/kernels/glu.h"
#include "sophia/kernels/linear_cross_entropy.h"
#include "sophia/kernels/quant_matmul.h"
#include "sophia/kernels/rms_norm.h"
#include "sophia/kernels/rotary.h"

namespace sophia::kernels {
namespace {

using In = std::span<const Tensor>;

constexpr int64_t kTokens = 4096;
constexpr int64_t kRank = 16;
constexpr DType kBF16 = DType::kBF16;

// From the config.json of each model.
struct Model {
  std::string_view name;
  int64_t layers, size, heads, kv_heads, head_dim, ff, vocab;
  int64_t window = 0;  // of layers with a sliding window
  bool norms_heads = false;
  Activation activation = Activation::kSilu;
  double norm_offset = 0;
};

constexpr auto kModels = std::to_array<Model>({
    {"SmolLM2-135M", 30, 576, 9, 3, 64, 1536, 49152},
    {"Llama-3.2-1B", 16, 2048, 32, 8, 64, 8192, 128256},
    {"Llama-3.1-8B", 32, 4096, 32, 8, 128, 14336, 128256},
    {"Qwen3-8B", 36, 4096, 32, 8, 128, 12288, 151936, 0, true},
    {"Gemma-3-1B", 26, 1152, 4, 1, 256, 6912, 262144, 512, true, Activation::kGeluTanh, 1},
    {"Gemma-3-4B", 34, 2560, 8, 4, 256, 10240, 262208, 1024, true, Activation::kGeluTanh, 1},
});

CaseInput Active(const Dims& dims) { return {.shape = {kBF16, dims}, .differentiate = true}; }

using Cases = std::vector<KernelCase>;

void AddAttention(const Model& m, Cases& cases) {
  const Dims keys = {1, kTokens, m.kv_heads, m.head_dim};
  const auto add = [&](const std::string& name, int64_t window, bool has_segments) {
    KernelCase test{
        .name = name,
        .inputs = {Active({1, kTokens, m.heads, m.head_dim}), Active(keys), Active(keys)},
        .trace = [window](In in, const KernelTarget& target) {
          const AttentionMask mask{
              .scale = 0.125, .window = window, .segments = in.size() > 3 ? in[3] : Tensor()};
          return std::vector{FlashAttention(in[0], in[1], in[2], target, mask)};
        }};
    if (has_segments) test.inputs.push_back({.shape = {DType::kS32, {1, kTokens}}});
    cases.push_back(std::move(test));
  };
  add("flash", 0, false);
  add("flash_segments", 0, true);
  if (m.window > 0) add("flash_window", m.window, true);
  for (const RotaryLayout layout : {RotaryLayout::kHalves, RotaryLayout::kInterleaved}) {
    cases.push_back({.name = layout == RotaryLayout::kHalves ? "rotary" : "rotary_interleaved",
                     .inputs = {Active({1, kTokens, m.heads, m.head_dim}),
                                Active(keys),
                                {.shape = {DType::kF32, {1, kTokens, 2 * m.head_dim}}}},
                     .trace = [layout](In in, const KernelTarget& target) {
                       const Rotated out =
                           Rotary(in[0], in[1], {.rows = in[2], .layout = layout}, target);
                       return std::vector{out.q, out.k};
                     }});
  }
}

void AddRows(const Model& m, Cases& cases) {
  const CaseInput rows = Active({1, kTokens, m.size});
  cases.push_back({.name = "glu",
                   .inputs = {Active({1, kTokens, m.ff}), Active({1, kTokens, m.ff})},
                   .trace = [activation = m.activation](In in, const KernelTarget& target) {
                     return std::vector{
                         GatedLinearUnit(in[0], in[1], target, {.activation = activation})};
                   }});
  cases.push_back({.name = "dropout",
                   .inputs = {rows, {.shape = {DType::kS32, {2}}}},
                   .trace = [](In in, const KernelTarget& target) {
                     return std::vector{Dropout(in[0], in[1], target, {.rate = 0.1})};
                   }});
  const auto norm = [&](const std::string& name, const CaseInput& x) {
    cases.push_back({.name = name,
                     .inputs = {x, {.shape = {kBF16, {x.shape.dims.back()}}}},
                     .trace = [offset = m.norm_offset](In in, const KernelTarget& target) {
                       return std::vector{RmsNorm(in[0], in[1], target, {.weight_offset = offset})};
                     }});
  };
  norm("rms_norm", rows);
  if (m.norms_heads) norm("rms_norm_heads", Active({1, kTokens, m.heads, m.head_dim}));
  // LoRA freezes the weight.
  for (const bool is_frozen : {true, false}) {
    cases.push_back(
        {.name = is_frozen ? "add_rms_norm" : "add_rms_norm_weight",
         .inputs = {rows, rows, {.shape = {kBF16, {m.size}}, .differentiate = !is_frozen}},
         .trace = [offset = m.norm_offset, is_frozen](In in, const KernelTarget& target) {
           const AddRmsNormOutput out =
               AddRmsNorm(in[0], in[1], in[2], target,
                          {.weight_offset = offset, .weight_gradient = !is_frozen});
           return std::vector{out.normalised, out.sum};
         }});
  }
}

void AddProducts(const Model& m, Cases& cases) {
  const auto add = [&](std::string_view name, int64_t rows, int64_t in,
                       const std::vector<std::string_view>& formats) {
    for (const std::string_view format_name : formats) {
      const quant::PackedFormat& format = *quant::FindPackedFormat(format_name);
      if (!quant::CanPack(format, {rows, in})) continue;
      KernelCase test{
          .name = fmt::format("quant_matmul_{}_{}", name, format_name),
          .inputs = {Active({1, kTokens, in})},
          .trace = [&format](In values, const KernelTarget& target) {
            return std::vector{QuantMatMul(values[0], format, values.subspan(1), target)};
          }};
      for (size_t i = 0; i < format.parts.size(); ++i) {
        test.inputs.push_back(
            {.shape = {format.parts[i].dtype, quant::PartDims(format, i, {rows, in})}});
      }
      cases.push_back(std::move(test));
    }
  };
  add("q", m.heads * m.head_dim, m.size, {"nf4"});
  add("k", m.kv_heads * m.head_dim, m.size, {"nf4", "int8"});
  add("up", m.ff, m.size, {"nf4"});
  add("down", m.size, m.ff, {"nf4", "int8", "int4", "Q4_1", "Q4_K", "Q4_K+Q6_K"});
}

void AddLoss(const Model& m, Cases& cases) {
  for (const DType head : {kBF16, DType::kS8}) {
    KernelCase test{.name = head == kBF16 ? "linear_cross_entropy" : "linear_cross_entropy_s8",
                    .inputs = {Active({kTokens, m.size}),
                               {.shape = {head, {m.vocab, m.size}}},
                               {.shape = {DType::kS32, {kTokens}}}},
                    .trace = [](In in, const KernelTarget& target) {
                      const Tensor scale = in.size() > 3 ? in[3] : Tensor();
                      return std::vector{
                          LinearCrossEntropy(in[0], in[1], in[2], target, {.head_scale = scale})};
                    }};
    if (head == DType::kS8) test.inputs.push_back({.shape = {DType::kF32, {m.vocab}}});
    cases.push_back(std::move(test));
  }
}

// Of the adapter of the widest layer.
void AddOptimisers(const Model& m, Cases& cases) {
  const auto scalars = [] {
    const Tensor one = Scalar(DType::kF32, 1);
    return AdamWScalars{one, one, one, one};
  };
  for (const Dims& dims : {Dims{m.layers, kRank, m.ff}, Dims{m.layers, m.ff, kRank}}) {
    const std::string which = dims[1] == kRank ? "a" : "b";
    const Shape param{DType::kF32, dims};
    cases.push_back(
        {.name = "adamw_" + which,
         .inputs = {{.shape = param}, {.shape = param}, {.shape = param}, {.shape = param}},
         .trace = [scalars](In in, const KernelTarget& target) {
           const AdamWResult out = AdamW(in[0], in[1], {in[2], in[3]}, scalars(), target);
           return std::vector{out.param, out.moments.mu, out.moments.nu};
         }});
    const CaseInput codes{.shape = MomentCodes(dims)};
    const CaseInput absmax{.shape = MomentAbsmax(dims)};
    cases.push_back({.name = "adamw_8bit_" + which,
                     .inputs = {{.shape = param}, {.shape = param}, codes, absmax, codes, absmax},
                     .trace = [scalars](In in, const KernelTarget& target) {
                       const AdamW8BitResult out =
                           AdamW8Bit(in[0], in[1], {in[2], in[3], in[4], in[5]}, scalars(), target);
                       return std::vector{out.param, out.moments.mu, out.moments.mu_absmax,
                                          out.moments.nu, out.moments.nu_absmax};
                     }});
  }
}

// What no model of the list has: f32, soft caps, other widths of heads.
Cases Variants() {
  struct Variant {
    std::string name;
    DType dtype;
    int64_t head_dim;
    double soft_cap = 0;
    int64_t window = 0;
  };
  Cases cases;
  for (const Variant& v :
       {Variant{"f32", DType::kF32, 128}, Variant{"f32_64", DType::kF32, 64},
        Variant{"f32_256", DType::kF32, 256}, Variant{"80", kBF16, 80}, Variant{"96", kBF16, 96},
        Variant{"soft_cap", kBF16, 128, 50}, Variant{"soft_cap_window", kBF16, 256, 50, 1024}}) {
    const auto heads = [&](int64_t count) -> CaseInput {
      return {.shape = {v.dtype, {1, kTokens, count, v.head_dim}}, .differentiate = true};
    };
    cases.push_back({.name = "flash_" + v.name,
                     .inputs = {heads(8), heads(4), heads(4)},
                     .trace = [v](In in, const KernelTarget& target) {
                       const AttentionMask mask{
                           .scale = 0.125, .window = v.window, .soft_cap = v.soft_cap};
                       return std::vector{FlashAttention(in[0], in[1], in[2], target, mask)};
                     }});
  }
  for (const double soft_cap : {0.0, 30.0}) {
    const DType dtype = soft_cap > 0 ? kBF16 : DType::kF32;
    cases.push_back(
        {.name = soft_cap > 0 ? "linear_cross_entropy_soft_cap" : "linear_cross_entropy_f32",
         .inputs = {{.shape = {dtype, {kTokens, 2304}}, .differentiate = true},
                    {.shape = {dtype, {256000, 2304}}},
                    {.shape = {DType::kS32, {kTokens}}}},
         .trace = [soft_cap](In in, const KernelTarget& target) {
           return std::vector{
               LinearCrossEntropy(in[0], in[1], in[2], target, {.soft_cap = soft_cap})};
         }});
  }
  return cases;
}

constexpr std::string_view kVariants = "variants";

}  // namespace

std::vector<std::string_view> ModelNames() {
  std::vector<std::string_view> names = {kVariants};
  for (const Model& model : kModels) names.push_back(model.name);
  return names;
}

std::vector<KernelCase> ModelCases(std::string_view model) {
  if (model == kVariants) return Variants();
  const auto* found = std::ranges::find(kModels, model, &Model::name);
  if (found == kModels.end()) {
    Fail("kernels_dump", "expected one of {}, got '{}'", fmt::join(ModelNames(), ", "), model);
  }
  Cases cases;
  AddAttention(*found, cases);
  AddRows(*found, cases);
  AddProducts(*found, cases);
  AddLoss(*found, cases);
  AddOptimisers(*found, cases);
  return cases;
}

}  // namespace sophia::kernels
