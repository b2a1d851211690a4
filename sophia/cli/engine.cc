#include "sophia/cli/engine.h"

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/lora/peft.h"
#include "sophia/models/kernel_choice.h"
#include "sophia/models/quant_rule.h"
#include "sophia/models/weights.h"

namespace sophia::cli {
namespace {

std::shared_ptr<const pjrt::Client> StartClient(const std::shared_ptr<const pjrt::Plugin>& plugin,
                                                const std::string& platform) {
  try {
    return pjrt::Client::Create(plugin);
  } catch (const pjrt::CallError& error) {
    Fail("device", "expected a {} that {} can use, got none: {}",
         platform.empty() ? "device" : platform, plugin->path().string(), error.message());
  }
}

}  // namespace

OpenedDevice OpenDevice(const Values& values) {
  const std::vector<std::string> name = Split(values.Text("device"), ':');
  pjrt::PluginSearch search{.platform = name[0]};
  if (values.Has("plugin")) search.path = values.NeedText("plugin");
  const auto client = StartClient(pjrt::Plugin::Load(pjrt::FindPlugin(search)), name[0]);
  if (values.Has("device") && client->platform_name() != name[0]) {
    Fail("device", "expected a plugin for {}, as --device says, got {} for {}", name[0],
         client->plugin().path().string(), client->platform_name());
  }
  const size_t index = name.size() > 1 ? std::stoull(name[1]) : 0;
  const std::vector<pjrt::Device> devices = client->addressable_devices();
  if (index < devices.size()) return {client, devices[index]};
  std::vector<std::string> known;
  for (size_t i = 0; i < devices.size(); ++i) known.push_back(DeviceName(*client, i));
  Fail("device", "expected a device that exists ({}), got {}",
       known.empty() ? "none" : Join(known, ", "), DeviceName(*client, index));
}

std::string DeviceName(const pjrt::Client& client, size_t index) {
  return fmt::format("{}:{}", client.platform_name(), index);
}

std::optional<pallas::Mode> KernelsOf(const Values& values) {
  return pallas::ModeFromName(values.Text("kernels"));
}

DType DTypeOf(const Values& values) { return *DTypeFromName(values.Text("dtype")); }

std::string QuantOf(const Values& values) {
  std::string text = values.Text("quant");
  try {
    models::QuantChoice::FromText(text);
  } catch (const Error& error) {
    throw UsageError(fmt::format("--quant: {}", error.message()));
  }
  return text;
}

LoadedModel::LoadedModel(const Values& values) : LoadedModel(values, values.Text("adapter")) {}

LoadedModel::LoadedModel(const Values& values, std::filesystem::path adapter)
    : values_(values),
      files_(models::ModelFiles::Open(values.NeedText("model_name_or_path"))),
      adapter_(std::move(adapter)),
      cache_(CompileCache::Default()) {
  const DType dtype = DTypeOf(values);
  const std::string quant = QuantOf(values);
  if (adapter_.empty()) {
    plan_ = models::BuildPlan(files_, std::make_unique<nn::ParamPolicy>(dtype), quant);
    return;
  }
  auto policy = std::make_unique<lora::LoraPolicy>(dtype, lora::ReadAdapterConfig(adapter_));
  const lora::LoraPolicy& lora_policy = *policy;
  plan_ = models::BuildPlan(files_, std::move(policy), quant);
  lora_policy.CheckTargets();
  lora::CheckAdapter(adapter_, plan_->specs());
}

void LoadedModel::Load() {
  opened_ = OpenDevice(values_);
  const pjrt::Device& device = opened_->device;
  plan_->policy->set_kernels(models::KernelsFor(device, KernelsOf(values_)));
  parameters_ = models::LoadParameters(files_, *plan_, device, 0);
  if (!adapter_.empty()) lora::LoadAdapter(adapter_, plan_->specs(), device, parameters_);
  for (pjrt::Buffer& buffer : parameters_) pointers_.push_back(&buffer);
}

}  // namespace sophia::cli
