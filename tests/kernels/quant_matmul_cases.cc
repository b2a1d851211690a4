#include "sophia/graph/ops/shape_ops.h"
#include "sophia/kernels/quant_matmul.h"
#include "tests/kernels/kernel_case.h"

namespace sophia::kernels {
namespace {

struct QuantCase {
  std::string name;  // tests/python/kernel_references.py knows format and types by it
  std::string format;
  Dims x;
  int64_t rows;
  DType dtype = DType::kF32;
  QuantMatMulOptions options = {.block_rows = 32, .block_out = 128, .block_contract = 128};
  std::optional<pallas::Chip> chip = std::nullopt;  // unless compiled for another
};

double Uniform(std::mt19937& random, double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(random);
}

CaseInput InputFor(const quant::PackedPart& part, const Dims& dims) {
  const double lowest = part.dtype == DType::kS8 ? -127 : 0;
  switch (part.kind) {
    case quant::PartKind::kCodes:
    case quant::PartKind::kHighCodes:
    case quant::PartKind::kScaleCodes:
      return {.shape = {part.dtype, dims}, .fill = [lowest](int64_t, std::mt19937& random) {
                return std::floor(Uniform(random, lowest, lowest + 255));
              }};
    case quant::PartKind::kScaleAbsmax:
      return {.shape = {DType::kF32, dims},
              .fill = [](int64_t, std::mt19937& random) { return Uniform(random, 0, 0.02); }};
    case quant::PartKind::kSubScales:
    case quant::PartKind::kSubMinima:
      return {.shape = {part.dtype, dims}, .fill = [is_signed = lowest < 0](auto, auto& random) {
                return std::floor(Uniform(random, is_signed ? -32 : 0, 64));
              }};
    case quant::PartKind::kSuperScales:
    case quant::PartKind::kSuperMinima:
      return {.shape = {DType::kF32, dims},
              .fill = [](int64_t, std::mt19937& random) { return Uniform(random, 1e-3, 2e-3); }};
    default:
      return {.shape = {DType::kF32, dims},
              .fill = [](int64_t, std::mt19937& random) { return Uniform(random, 0.05, 0.1); }};
  }
}

KernelCase CaseOf(const QuantCase& c) {
  const quant::PackedFormat& format = *quant::FindPackedFormat(c.format);
  KernelCase result{.name = "quant_matmul_" + c.name,
                    .inputs = {{.shape = {c.dtype, c.x}, .differentiate = true}},
                    .trace =
                        [&format, options = c.options, chip = c.chip](std::span<const Tensor> in,
                                                                      KernelTarget target) {
                          if (!target.chip) target.chip = chip;
                          std::vector<Tensor> parts;
                          for (size_t i = 0; i < format.parts.size(); ++i) {
                            parts.push_back(Convert(in[i + 1], format.parts[i].dtype));
                          }
                          return std::vector{QuantMatMul(in[0], format, parts, target, options)};
                        },
                    .tolerance = c.dtype == DType::kBF16 ? 2e-2 : 1e-5};
  for (size_t i = 0; i < format.parts.size(); ++i) {
    const Dims dims = quant::PartDims(format, i, {c.rows, c.x.back()});
    result.inputs.push_back(InputFor(format.parts[i], dims));
  }
  return result;
}

}  // namespace

std::vector<KernelCase> QuantMatMulCases() {
  const std::vector<QuantCase> cases = {
      {.name = "nf4", .format = "nf4", .x = {2, 24, 256}, .rows = 192},
      {.name = "nf4_whole", .format = "nf4", .x = {5, 576}, .rows = 64, .options = {}},
      {.name = "nf4_bf16", .format = "nf4", .x = {48, 256}, .rows = 256, .dtype = DType::kBF16},
      {.name = "nf4_bf16_in_f32",
       .format = "nf4",
       .x = {40, 256},
       .rows = 128,
       .dtype = DType::kBF16,
       .chip = pallas::Chip::kV2},
      {.name = "nf4_one_row", .format = "nf4", .x = {1, 64}, .rows = 128},
      {.name = "plain_nf4", .format = "nf4_plain", .x = {40, 256}, .rows = 128},
      {.name = "int8", .format = "int8", .x = {40, 256}, .rows = 200},
      {.name = "int8_bf16", .format = "int8", .x = {40, 256}, .rows = 256, .dtype = DType::kBF16},
      {.name = "int8_bf16_in_f32",
       .format = "int8",
       .x = {40, 256},
       .rows = 128,
       .dtype = DType::kBF16,
       .chip = pallas::Chip::kV3},
      {.name = "int4_g64", .format = "int4", .x = {40, 256}, .rows = 256},
      {.name = "int4_g32", .format = "int4_g32", .x = {3, 96}, .rows = 128},
      {.name = "int4_g128_bf16",
       .format = "int4_g128",
       .x = {40, 256},
       .rows = 256,
       .dtype = DType::kBF16},
      {.name = "q4_1", .format = "Q4_1", .x = {40, 256}, .rows = 128},
      {.name = "q8_0", .format = "Q8_0", .x = {40, 256}, .rows = 128},
      {.name = "q4_k", .format = "Q4_K", .x = {40, 256}, .rows = 128},
      {.name = "q6_k", .format = "Q6_K", .x = {2, 12, 512}, .rows = 192},
      {.name = "q6_k_bf16", .format = "Q6_K", .x = {48, 256}, .rows = 256, .dtype = DType::kBF16},
      {.name = "k_mixture",
       .format = "Q4_K+Q6_K",
       .x = {40, 768},
       .rows = 128,
       .options = {.block_rows = 32, .block_out = 128, .block_contract = 384}}};
  std::vector<KernelCase> all;
  for (const QuantCase& c : cases) all.push_back(CaseOf(c));
  return all;
}

}  // namespace sophia::kernels
