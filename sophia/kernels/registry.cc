#include "sophia/kernels/registry.h"

#include <algorithm>
#include <array>

#include "sophia/autodiff/autodiff.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/kernels/adamw.h"
#include "sophia/kernels/dropout.h"
#include "sophia/kernels/flash_attention.h"
#include "sophia/kernels/glu.h"
#include "sophia/kernels/linear_cross_entropy.h"
#include "sophia/kernels/quant_matmul.h"
#include "sophia/kernels/rms_norm.h"
#include "sophia/kernels/rotary.h"
#include "sophia/pallas/mosaic.h"

namespace sophia::kernels {
namespace {

using pallas::Chip;
using pallas::Kernel;

Tensor Input(DType dtype, const Dims& dims) {
  return Graph::Current().AddInput({dtype, dims}, {.name = "x"});
}

// Calls the function and its gradient for the parameters.
void TraceGradient(const std::vector<Tensor>& parameters,
                   const std::function<Tensor(std::span<const Tensor>)>& function) {
  ValueAndGrad(
      [&](std::span<const Tensor> p) -> Loss { return {Sum(Convert(function(p), DType::kF32))}; },
      parameters);
}

void TraceFlashAttention(const KernelTarget& target) {
  const Tensor q = Input(DType::kBF16, {1, 4096, 32, 128});
  const Tensor k = Input(DType::kBF16, {1, 4096, 8, 128});
  const Tensor v = Input(DType::kBF16, {1, 4096, 8, 128});
  TraceGradient({q, k, v}, [&](std::span<const Tensor> p) {
    return FlashAttention(p[0], p[1], p[2], target, {.scale = 0.088});
  });
}

void TraceLinearCrossEntropy(const KernelTarget& target) {
  const Tensor head = Input(DType::kBF16, {128256, 4096});
  const Tensor labels = Input(DType::kS32, {4096});
  TraceGradient({Input(DType::kBF16, {4096, 4096})}, [&](std::span<const Tensor> p) {
    return LinearCrossEntropy(p[0], head, labels, target);
  });
}

void TraceRmsNorm(const KernelTarget& target) {
  const Tensor weight = Input(DType::kBF16, {4096});
  TraceGradient({Input(DType::kBF16, {4096, 4096})},
                [&](std::span<const Tensor> p) { return RmsNorm(p[0], weight, target); });
}

void TraceAddRmsNorm(const KernelTarget& target) {
  const Tensor weight = Input(DType::kBF16, {4096});
  const Tensor x = Input(DType::kBF16, {4096, 4096});
  TraceGradient({x, Input(DType::kBF16, x.dims())}, [&](std::span<const Tensor> p) {
    const AddRmsNormOutput out = AddRmsNorm(p[0], p[1], weight, target);
    return out.normalised + out.sum;
  });
}

void TraceRotary(const KernelTarget& target) {
  const RotaryTable table{.rows = Input(DType::kF32, {1, 4096, 256}),
                          .layout = RotaryLayout::kHalves};
  Rotary(Input(DType::kBF16, {1, 4096, 32, 128}), Input(DType::kBF16, {1, 4096, 8, 128}), table,
         target);
}

void TraceGlu(const KernelTarget& target) {
  const Tensor gate = Input(DType::kBF16, {4096, 14336});
  TraceGradient({gate, Input(DType::kBF16, gate.dims())},
                [&](std::span<const Tensor> p) { return GatedLinearUnit(p[0], p[1], target); });
}

void TraceDropout(const KernelTarget& target) {
  Dropout(Input(DType::kBF16, {4096, 4096}), Input(DType::kS32, {2}), target, {.rate = 0.1});
}

void TraceQuantMatMul(const KernelTarget& target) {
  const quant::PackedFormat& format = *quant::FindPackedFormat("nf4");
  const Dims weight = {14336, 4096};
  std::vector<Tensor> parts;
  for (size_t i = 0; i < format.parts.size(); ++i) {
    parts.push_back(Input(format.parts[i].dtype, quant::PartDims(format, i, weight)));
  }
  TraceGradient({Input(DType::kBF16, {4096, 4096})}, [&](std::span<const Tensor> p) {
    return QuantMatMul(p[0], format, parts, target);
  });
}

AdamWScalars Ones() {
  const Tensor one = Scalar(DType::kF32, 1);
  return {one, one, one, one};
}

void TraceAdamW(const KernelTarget& target) {
  const auto input = [] { return Input(DType::kF32, {32, 16, 14336}); };
  AdamW(input(), input(), {input(), input()}, Ones(), target);
}

void TraceAdamW8Bit(const KernelTarget& target) {
  const Tensor param = Input(DType::kF32, {32, 16, 14336});
  const auto codes = [&] { return Input(DType::kU8, MomentCodes(param.dims()).dims); };
  const auto absmax = [&] { return Input(DType::kF32, MomentAbsmax(param.dims()).dims); };
  AdamW8Bit(param, Input(DType::kF32, param.dims()), {codes(), absmax(), codes(), absmax()}, Ones(),
            target);
}

// A function of this layer at a shape of Llama-3.1-8B.
struct KernelFunction {
  std::string_view shape;
  void (*trace)(const KernelTarget& target);  // calls it, and its gradient, in the current graph
};

constexpr auto kFunctions = std::to_array<KernelFunction>({
    {"q [1, 4096, 32, 128], 8 key heads, causal, bf16", TraceFlashAttention},
    {"hidden [4096, 4096], head [128256, 4096], bf16", TraceLinearCrossEntropy},
    {"x [4096, 4096], bf16", TraceRmsNorm},
    {"x and residual [4096, 4096], bf16", TraceAddRmsNorm},
    {"q [1, 4096, 32, 128], 8 key heads, bf16", TraceRotary},
    {"gate [4096, 14336], bf16", TraceGlu},
    {"x [4096, 4096], bf16", TraceDropout},
    {"x [4096, 4096] bf16, NF4 weight [14336, 4096]", TraceQuantMatMul},
    {"parameter [32, 16, 14336], f32 moments", TraceAdamW},
    {"parameter [32, 16, 14336], 8-bit moments", TraceAdamW8Bit},
});

KernelFacts FactsOf(const Kernel& kernel, std::string_view shape, Chip chip) {
  KernelFacts facts{.name = kernel.spec.name,
                    .shape = shape,
                    .chip = chip,
                    .grid = kernel.spec.grid,
                    .vmem_bytes = pallas::VmemBytes(kernel),
                    .vmem_limit = kernel.spec.vmem_limit_bytes > 0 ? kernel.spec.vmem_limit_bytes
                                                                   : Info(chip).vmem_default};
  double arrays = 0;
  for (size_t i = 0; i < kernel.first_scratch(); ++i) {
    const Shape& array = i < kernel.first_output()
                             ? kernel.inputs[i]
                             : kernel.spec.out_shapes[i - kernel.first_output()];
    arrays += static_cast<double>(ByteSize(array.dtype, array.elements()));
    if (kernel.refs[i].space == pallas::MemorySpace::kVmem) {
      facts.blocks.push_back(kernel.refs[i].shape.dims);
    }
  }
  const pallas::CostEstimate cost = kernel.spec.cost_estimate.value_or(pallas::CostEstimate());
  facts.flops = static_cast<double>(cost.flops);
  facts.hbm_bytes = cost.bytes_accessed > 0 ? static_cast<double>(cost.bytes_accessed) : arrays;
  return facts;
}

// Traces all functions for the chip and hands out each kernel once.
void ForEachKernel(Chip chip,
                   const std::function<void(const Kernel& kernel, std::string_view shape)>& use) {
  for (const KernelFunction& function : kFunctions) {
    std::vector<std::string> seen;
    const pallas::CallObserver observer(
        [&](const Kernel& kernel, std::span<const Tensor>, std::span<const Tensor>) {
          if (std::ranges::find(seen, kernel.spec.name) != seen.end()) return;
          seen.push_back(kernel.spec.name);
          use(kernel, function.shape);
        });
    Graph graph;
    const Tracing tracing(graph);
    function.trace({.mode = pallas::Mode::kMosaic, .chip = chip});
  }
}

}  // namespace

// A call runs on one device, which is a part of the chip where that has several.
double KernelFacts::roofline() const {
  const pallas::ChipInfo& info = Info(chip);
  return info.devices * std::max(flops / info.bf16_flops, hbm_bytes / info.hbm_bandwidth);
}

bool KernelFacts::compute_bound() const {
  return flops / Info(chip).bf16_flops >= hbm_bytes / Info(chip).hbm_bandwidth;
}

std::vector<KernelFacts> DescribeKernels(Chip chip) {
  std::vector<KernelFacts> all;
  ForEachKernel(chip, [&](const Kernel& kernel, std::string_view shape) {
    all.push_back(FactsOf(kernel, shape, chip));
  });
  return all;
}

std::optional<std::string> KernelText(std::string_view name, Chip chip) {
  std::optional<std::string> text;
  ForEachKernel(chip, [&](const Kernel& kernel, std::string_view) {
    if (kernel.spec.name == name && !text) text = pallas::KernelFile(kernel);
  });
  return text;
}

}  // namespace sophia::kernels
