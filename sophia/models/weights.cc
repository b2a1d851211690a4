#include "sophia/models/weights.h"

#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>

#include "sophia/base/error.h"
#include "sophia/base/sha256.h"

namespace sophia::models {
namespace {

// Page-aligned host memory that the device may keep using in place.
class HostArray {
 public:
  explicit HostArray(size_t size) : size_(size), data_(Allocate(size), std::free) {}
  std::span<std::byte> bytes() const { return {static_cast<std::byte*>(data_.get()), size_}; }
  std::shared_ptr<const void> owner() const { return data_; }

 private:
  static void* Allocate(size_t size) {
    constexpr size_t kAlignment = 4096;
    void* data = std::aligned_alloc(kAlignment, (size + kAlignment - 1) / kAlignment * kAlignment);
    if (data == nullptr) Fail("memory", "expected {} bytes of host memory, got none", size);
    return data;
  }

  size_t size_;
  std::shared_ptr<void> data_;
};

// The buffers of one parameter: of one array, or of all parts of a packed one.
std::vector<pjrt::Buffer> LoadParameter(const ModelFiles& files,
                                        std::span<const nn::ParamSpec> arrays,
                                        const pjrt::Device& device,
                                        const std::string& memory_kind) {
  std::vector<HostArray> hosts;
  for (const nn::ParamSpec& spec : arrays) {
    hosts.emplace_back(static_cast<size_t>(spec.shape().bytes()));
  }
  const auto layers = static_cast<size_t>(std::max<int64_t>(arrays[0].layers, 1));
  for (size_t layer = 0; layer < layers; ++layer) {
    std::vector<std::span<std::byte>> slices;
    for (const HostArray& host : hosts) {
      const size_t bytes = host.bytes().size() / layers;
      slices.push_back(host.bytes().subspan(layer * bytes, bytes));
    }
    if (arrays[0].packed.format == nullptr) {
      files.Read(arrays[0], static_cast<int64_t>(layer), slices[0]);
    } else {
      files.ReadPacked(arrays[0], static_cast<int64_t>(layer), slices);
    }
  }
  std::vector<pjrt::Buffer> buffers;
  for (size_t i = 0; i < arrays.size(); ++i) {
    // What is trained changes in place, so the device needs memory of its own.
    const bool stays = !arrays[i].trainable;
    buffers.push_back(pjrt::Buffer::FromHost(
        device, arrays[i].shape(), hosts[i].bytes(),
        {.semantics = stays ? pjrt::HostSemantics::kZeroCopy : pjrt::HostSemantics::kCopy,
         .keep_alive = stays ? hosts[i].owner() : nullptr,
         .memory_kind = memory_kind}));
    buffers.back().Await();
  }
  return buffers;
}

}  // namespace

std::vector<float> InitialValues(const nn::ParamSpec& spec, uint64_t seed) {
  const Shape shape = spec.shape();
  std::vector<float> values(static_cast<size_t>(shape.elements()), 0.0f);
  if (spec.init == nn::ParamInit::kZeros || spec.init == nn::ParamInit::kRowNorms) return values;
  SOPHIA_CHECK(spec.init == nn::ParamInit::kKaimingUniform);
  // A stream of its own for each parameter, so that adding one does not change the others.
  const std::string digest = Sha256Hex(fmt::format("{}:{}", seed, spec.path));
  std::mt19937_64 random(std::stoull(digest.substr(0, 16), nullptr, 16));
  const double bound = 1.0 / std::sqrt(static_cast<double>(spec.dims.back()));
  for (float& value : values) {
    const double unit = static_cast<double>(random() >> 11) * 0x1.0p-53;
    value = static_cast<float>((2 * unit - 1) * bound);
  }
  return values;
}

std::vector<pjrt::Buffer> LoadParameters(const ModelFiles& files, const ModelPlan& plan,
                                         const pjrt::Device& device, uint64_t seed) {
  const std::vector<nn::ParamSpec>& specs = plan.specs();
  const bool has_host = device.FindMemory(kHostMemory).has_value();
  std::vector<pjrt::Buffer> buffers;
  while (buffers.size() < specs.size()) {
    const nn::ParamSpec& spec = specs[buffers.size()];
    if (spec.init == nn::ParamInit::kCheckpoint) {
      const size_t arrays = spec.packed.format == nullptr ? 1 : spec.packed.format->parts.size();
      const bool on_host = has_host && plan.table->IsOnHost(spec);
      for (pjrt::Buffer& buffer :
           LoadParameter(files, std::span(specs).subspan(buffers.size(), arrays), device,
                         on_host ? std::string(kHostMemory) : "")) {
        buffers.push_back(std::move(buffer));
      }
    } else {
      SOPHIA_CHECK(spec.dtype == DType::kF32, "initial values of {}", Name(spec.dtype));
      buffers.push_back(pjrt::Buffer::FromHost(device, spec.shape(), InitialValues(spec, seed)));
    }
  }
  return buffers;
}

}  // namespace sophia::models
