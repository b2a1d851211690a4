#pragma once

#include <functional>
#include <span>
#include <vector>

#include "sophia/graph/ops/shape_ops.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/quant/packed_format.h"
#include "sophia/runtime/program.h"

namespace sophia::quant {

using Inputs = std::span<const Tensor>;

// The host arrays of a packed weight.
class HostParts {
 public:
  HostParts(const PackedFormat& format, const Dims& dims) {
    for (size_t i = 0; i < format.parts.size(); ++i) {
      shapes_.push_back({format.parts[i].dtype, PartDims(format, i, dims)});
      arrays_.emplace_back(static_cast<size_t>(shapes_[i].bytes()));
    }
    for (std::vector<std::byte>& array : arrays_) bytes_.emplace_back(array);
  }

  PartBytes bytes() const { return bytes_; }
  template <typename T>
  std::span<const T> As(size_t part) const {
    return {reinterpret_cast<const T*>(arrays_[part].data()), arrays_[part].size() / sizeof(T)};
  }

  // What `trace` makes of the parts, as f32, by a compiled program.
  std::vector<float> Compute(const std::function<Tensor(Inputs)>& trace) const {
    std::vector<pjrt::Buffer> buffers;
    Graph graph;
    std::vector<Tensor> parts;
    for (size_t i = 0; i < shapes_.size(); ++i) {
      buffers.push_back(pjrt::Buffer::FromHost(pjrt::SharedCpuClient().default_device(), shapes_[i],
                                               std::span<const std::byte>(arrays_[i])));
      parts.push_back(graph.AddInput(shapes_[i], {}));
    }
    std::vector<pjrt::Buffer*> arguments;
    for (pjrt::Buffer& buffer : buffers) arguments.push_back(&buffer);
    const Tracing tracing(graph);
    graph.AddOutput(Convert(trace(parts), DType::kF32), {});
    return Program::Compile(pjrt::SharedCpuClient(), graph).Run(arguments)[0].ToVector<float>();
  }

 private:
  std::vector<Shape> shapes_;
  std::vector<std::vector<std::byte>> arrays_;
  std::vector<std::span<std::byte>> bytes_;
};

}  // namespace sophia::quant
