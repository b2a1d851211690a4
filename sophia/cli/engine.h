#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sophia/cli/options.h"
#include "sophia/kernels/kernel_target.h"
#include "sophia/models/model_files.h"
#include "sophia/models/model_plan.h"
#include "sophia/pjrt/buffer.h"
#include "sophia/pjrt/client.h"
#include "sophia/runtime/cache.h"

namespace sophia::cli {

// A device, and the client that it is a view of.
struct OpenedDevice {
  std::shared_ptr<const pjrt::Client> client;
  pjrt::Device device;
};

// The device that --device and --plugin choose; without --device, the first of any plugin. Throws
// Error when there is no usable plugin, when it is for another platform than --device names, and
// when the platform has no device of that index.
OpenedDevice OpenDevice(const Values& values);

// "cpu:1": how --device calls the client's second device.
std::string DeviceName(const pjrt::Client& client, size_t index);

// The type of --dtype.
DType DTypeOf(const Values& values);
// What --quant says, checked: see models::QuantChoice.
std::string QuantOf(const Values& values);
// How --kernels wants kernels traced; nullopt: as suits the device.
std::optional<pallas::Mode> KernelsOf(const Values& values);

// A model with the adapter of --adapter, for running it.
class LoadedModel {
 public:
  // Reads configurations only. Throws Error for broken files and an adapter that cannot fit.
  explicit LoadedModel(const Values& values);
  // With this adapter instead; empty: the base model.
  LoadedModel(const Values& values, std::filesystem::path adapter);

  // Opens the device and puts the weights on it. Throws Error when tensors do not match.
  void Load();

  const models::ModelFiles& files() const { return files_; }
  const models::ModelPlan& plan() const { return *plan_; }
  // After Load().
  const pjrt::Device& device() const { return opened_->device; }
  const CompileCache* cache() const { return cache_ ? &*cache_ : nullptr; }
  // After Load().
  std::span<pjrt::Buffer* const> parameters() const { return pointers_; }

 private:
  const Values& values_;
  models::ModelFiles files_;
  std::filesystem::path adapter_;
  std::unique_ptr<models::ModelPlan> plan_;
  std::optional<CompileCache> cache_;
  std::optional<OpenedDevice> opened_;
  std::vector<pjrt::Buffer> parameters_;
  std::vector<pjrt::Buffer*> pointers_;
};

}  // namespace sophia::cli
