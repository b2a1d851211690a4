#include "sophia/lora/magnitudes.h"

#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/quant/unpack.h"
#include "sophia/runtime/program.h"

namespace sophia::lora {
namespace {

// The arrays of the weight beside a magnitude.
struct WeightArrays {
  size_t first = 0;
  size_t count = 1;
};

WeightArrays WeightBeside(const std::vector<nn::ParamSpec>& specs, const nn::ParamSpec& magnitude) {
  const std::string path = magnitude.path.substr(0, magnitude.path.rfind('.')) + ".weight";
  const auto found = std::ranges::find(specs, path, &nn::ParamSpec::path);
  SOPHIA_CHECK(found != specs.end(), "no weight beside '{}'", magnitude.path);
  const quant::PackedFormat* format = found->packed.format;
  return {.first = static_cast<size_t>(found - specs.begin()),
          .count = format == nullptr ? 1 : format->parts.size()};
}

Tensor RowNorms(const nn::ParamSpec& spec, std::span<const Tensor> arrays) {
  const auto of_layer = [&](std::span<const Tensor> parts) {
    const Tensor weight = spec.packed.format == nullptr ? parts[0]
                                                        : quant::Unpack(*spec.packed.format, parts,
                                                                        spec.packed.unpacked.dtype);
    const Tensor wide = Convert(weight, DType::kF32);
    return Sqrt(Sum(wide * wide, {-1}));
  };
  if (spec.layers == 0) return of_layer(arrays);
  return Scan(
             [&](std::span<const Tensor>, std::span<const Tensor> slices) -> ScanStep {
               return {{}, {of_layer(slices)}};
             },
             {}, {arrays.begin(), arrays.end()})
      .ys[0];
}

}  // namespace

void SetMagnitudes(const pjrt::Client& client, const pjrt::Device& device,
                   const std::vector<nn::ParamSpec>& specs, std::vector<pjrt::Buffer>& buffers) {
  Graph graph;
  std::vector<size_t> magnitudes;
  std::vector<pjrt::Buffer*> arguments;
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].init != nn::ParamInit::kRowNorms) continue;
    magnitudes.push_back(i);
    const WeightArrays weight = WeightBeside(specs, specs[i]);
    std::vector<Tensor> arrays;
    for (size_t j = weight.first; j < weight.first + weight.count; ++j) {
      arrays.push_back(graph.AddInput(specs[j].shape(), {.name = specs[j].name()}));
      arguments.push_back(&buffers[j]);
    }
    const Tracing tracing(graph);
    graph.AddOutput(RowNorms(specs[weight.first], arrays), {.name = specs[i].path});
  }
  if (magnitudes.empty()) return;
  const Program program = Program::Compile(client, graph, {.name = "magnitudes", .device = device});
  std::vector<pjrt::Buffer> results = program.Run(arguments);
  for (size_t i = 0; i < magnitudes.size(); ++i) buffers[magnitudes[i]] = std::move(results[i]);
}

}  // namespace sophia::lora
