#include "tests/opcheck/opcheck.h"

#include <cstring>
#include <random>

#include "sophia/autodiff/autodiff.h"
#include "sophia/base/float_bits.h"
#include "sophia/runtime/program.h"
#include "tests/opcheck/layers.h"
#include "tests/opcheck/programs.h"

namespace sophia {
namespace {

template <typename T>
void AppendAs(std::vector<std::byte>& bytes, double value) {
  const auto narrow = static_cast<T>(value);
  const auto* data = reinterpret_cast<const std::byte*>(&narrow);
  bytes.insert(bytes.end(), data, data + sizeof(T));
}

}  // namespace

std::vector<std::byte> ToBytes(const HostValue& host) {
  std::vector<std::byte> bytes;
  for (const double value : host.values) {
    switch (host.shape.dtype) {
      case DType::kF32:
        AppendAs<float>(bytes, value);
        break;
      case DType::kF64:
        AppendAs<double>(bytes, value);
        break;
      case DType::kS32:
        AppendAs<int32_t>(bytes, value);
        break;
      case DType::kU32:
        AppendAs<uint32_t>(bytes, value);
        break;
      case DType::kS64:
        AppendAs<int64_t>(bytes, value);
        break;
      case DType::kU64:
        AppendAs<uint64_t>(bytes, value);
        break;
      case DType::kS16:
        AppendAs<int16_t>(bytes, value);
        break;
      case DType::kU16:
        AppendAs<uint16_t>(bytes, value);
        break;
      case DType::kS8:
        AppendAs<int8_t>(bytes, value);
        break;
      case DType::kU8:
      case DType::kBool:
        AppendAs<uint8_t>(bytes, value);
        break;
      case DType::kBF16:
        AppendAs<uint16_t>(bytes, FloatToBf16(static_cast<float>(value)));
        break;
      case DType::kF16:
        AppendAs<uint16_t>(bytes, FloatToF16(static_cast<float>(value)));
        break;
      case DType::kF8E4M3FN:
        AppendAs<uint8_t>(bytes, FloatToF8E4M3FN(static_cast<float>(value)));
        break;
      case DType::kF8E5M2:
        AppendAs<uint8_t>(bytes, FloatToF8E5M2(static_cast<float>(value)));
        break;
      default:
        Fail("opcheck", "expected an input type it can draw, got {}", Name(host.shape.dtype));
    }
  }
  return bytes;
}

namespace {

template <typename T>
double ReadAs(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return static_cast<double>(value);
}

double ReadValue(DType dtype, const std::byte* data) {
  switch (dtype) {
    case DType::kF32:
      return ReadAs<float>(data);
    case DType::kF64:
      return ReadAs<double>(data);
    case DType::kS32:
      return ReadAs<int32_t>(data);
    case DType::kU32:
      return ReadAs<uint32_t>(data);
    case DType::kS64:
      return ReadAs<int64_t>(data);
    case DType::kU64:
      return ReadAs<uint64_t>(data);
    case DType::kS16:
      return ReadAs<int16_t>(data);
    case DType::kU16:
      return ReadAs<uint16_t>(data);
    case DType::kS8:
      return ReadAs<int8_t>(data);
    case DType::kU8:
    case DType::kBool:
      return ReadAs<uint8_t>(data);
    case DType::kBF16:
      return Bf16ToFloat(static_cast<uint16_t>(ReadAs<uint16_t>(data)));
    case DType::kF16:
      return F16ToFloat(static_cast<uint16_t>(ReadAs<uint16_t>(data)));
    case DType::kF8E4M3FN:
      return F8E4M3FNToFloat(std::to_integer<uint8_t>(*data));
    case DType::kF8E5M2:
      return F8E5M2ToFloat(std::to_integer<uint8_t>(*data));
    default:
      Fail("opcheck", "expected an output type it can read, got {}", Name(dtype));
  }
}

HostValue ToHost(const pjrt::Buffer& buffer) {
  HostValue host{buffer.shape(), {}};
  std::vector<std::byte> bytes(static_cast<size_t>(host.shape.bytes()));
  buffer.ToHost(bytes);
  const size_t size = static_cast<size_t>(Info(host.shape.dtype).bits) / 8;
  for (size_t at = 0; at < bytes.size(); at += size) {
    host.values.push_back(ReadValue(host.shape.dtype, bytes.data() + at));
  }
  return host;
}

HostValue Draw(const Shape& shape, double low, double high, std::mt19937& random) {
  HostValue host{shape, {}};
  std::uniform_real_distribution<double> uniform(low, high);
  for (int64_t i = 0; i < shape.elements(); ++i) {
    double value = uniform(random);
    if (shape.dtype == DType::kF32) value = static_cast<float>(value);
    if (shape.dtype == DType::kBF16) value = Bf16ToFloat(FloatToBf16(static_cast<float>(value)));
    if (shape.dtype == DType::kF16) value = F16ToFloat(FloatToF16(static_cast<float>(value)));
    if (IsInteger(shape.dtype)) value = std::floor(value);
    if (shape.dtype == DType::kBool) value = value > 0.5 * (low + high) ? 1 : 0;
    host.values.push_back(value);
  }
  return host;
}

std::vector<HostValue> Execute(const pjrt::Client& client, const Program& program,
                               const std::vector<HostValue>& inputs) {
  std::vector<pjrt::Buffer> buffers;
  for (const HostValue& input : inputs) {
    buffers.push_back(pjrt::Buffer::FromHost(client.default_device(), input.shape, ToBytes(input)));
  }
  std::vector<pjrt::Buffer*> arguments;
  for (pjrt::Buffer& buffer : buffers) arguments.push_back(&buffer);
  std::vector<HostValue> outputs;
  for (const pjrt::Buffer& buffer : program.Run(arguments)) outputs.push_back(ToHost(buffer));
  return outputs;
}

// The sample's float inputs, and its call with the others held fixed.
TensorFunction OfFloats(const OpSample& sample, const std::vector<Tensor>& inputs) {
  return [&sample, inputs](std::span<const Tensor> floats) {
    std::vector<Tensor> all = inputs;
    size_t next = 0;
    for (Tensor& tensor : all) {
      if (IsFloat(tensor.dtype())) tensor = floats[next++];
    }
    return sample.call(all);
  };
}

std::vector<Tensor> AddInputs(Graph& graph, const std::vector<HostValue>& values) {
  std::vector<Tensor> tensors;
  for (const HostValue& value : values) tensors.push_back(graph.AddInput(value.shape, {}));
  return tensors;
}

}  // namespace

std::vector<OpSample> AllSamples() {
  std::vector<OpSample> samples;
  for (const OpDef* op : AllOps()) {
    const std::vector<OpSample> own = op->samples();
    samples.insert(samples.end(), own.begin(), own.end());
  }
  for (const std::vector<OpSample>& more : {ProgramSamples(), LayerSamples()}) {
    samples.insert(samples.end(), more.begin(), more.end());
  }
  return samples;
}

std::vector<std::vector<HostValue>> RunForward(const pjrt::Client& client, const OpSample& sample,
                                               const std::vector<std::vector<HostValue>>& inputs) {
  Graph graph;
  const std::vector<Tensor> tensors = AddInputs(graph, inputs.at(0));
  const Tracing tracing(graph);
  for (const Tensor& output : sample.call(tensors)) graph.AddOutput(output, {});
  const Program program = Program::Compile(client, graph);
  std::vector<std::vector<HostValue>> outputs;
  for (const auto& values : inputs) outputs.push_back(Execute(client, program, values));
  return outputs;
}

OpRun RunSample(const pjrt::Client& client, const OpSample& sample, unsigned seed, bool wide,
                bool differentiate) {
  std::mt19937 random(seed);
  OpRun run;
  for (Shape shape : sample.inputs) {
    if (wide && shape.dtype == DType::kF32) shape.dtype = DType::kF64;
    run.inputs.push_back(Draw(shape, sample.low, sample.high, random));
  }
  if (!differentiate) {
    run.outputs = RunForward(client, sample, {run.inputs})[0];
    return run;
  }
  Graph graph;
  const std::vector<Tensor> inputs = AddInputs(graph, run.inputs);
  const Tracing tracing(graph);
  std::vector<Tensor> floats;
  for (const Tensor& input : inputs) {
    if (IsFloat(input.dtype())) floats.push_back(input);
  }
  const VjpResult vjp = Vjp(OfFloats(sample, inputs), floats);
  std::vector<HostValue> values = run.inputs;
  std::vector<Tensor> seeds;
  for (const Tensor& output : vjp.outputs) {
    graph.AddOutput(output, {});
    seeds.emplace_back();
    if (!IsFloat(output.dtype())) continue;
    run.cotangents.push_back(Draw(output.shape(), -1, 1, random));
    values.push_back(run.cotangents.back());
    seeds.back() = graph.AddInput(output.shape(), {});
  }
  for (const Tensor& gradient : vjp.pullback(seeds)) graph.AddOutput(gradient, {});
  std::vector<HostValue> results = Execute(client, Program::Compile(client, graph), values);
  const auto split = results.begin() + static_cast<int64_t>(vjp.outputs.size());
  run.outputs.assign(results.begin(), split);
  run.gradients.assign(split, results.end());
  return run;
}

}  // namespace sophia
