#pragma once

#include <string>
#include <vector>

#include "sophia/runtime/program.h"

namespace sophia::pallas {

// Values as f32 or s32, whatever the element type in the program is.
struct HostTensor {
  Shape shape;
  std::vector<float> floats;
  std::vector<int32_t> integers;

  std::span<const std::byte> bytes() const;
};

// f32 for floats, else s32.
Shape HostShape(const Shape& shape);

// An input of shape HostShape(shape), converted to `shape`, and an output converted back.
Tensor AddHostInput(Graph& graph, const Shape& shape, const std::string& name);
void AddHostOutput(Graph& graph, const Tensor& value, const std::string& name);

// Compiles a graph with such inputs and outputs and runs it once.
std::vector<HostTensor> RunOnce(const pjrt::Client& client, const Graph& graph,
                                const std::vector<HostTensor>& inputs);

}  // namespace sophia::pallas
