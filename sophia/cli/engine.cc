#include "sophia/cli/engine.h"

#include "sophia/lora/peft.h"
#include "sophia/models/weights.h"

namespace sophia::cli {

std::shared_ptr<const pjrt::Client> OpenClient(const Values& values) {
  pjrt::PluginSearch search{.platform = values.Text("device")};
  if (values.Has("plugin")) search.path = values.NeedText("plugin");
  return pjrt::Client::Create(pjrt::Plugin::Load(pjrt::FindPlugin(search)));
}

DType DTypeOf(const Values& values) { return *DTypeFromName(values.Text("dtype")); }

LoadedModel::LoadedModel(const Values& values)
    : values_(values),
      files_(models::ModelFiles::Open(values.NeedText("model_name_or_path"))),
      adapter_(values.Text("adapter")),
      cache_(CompileCache::Default()) {
  const DType dtype = DTypeOf(values);
  if (adapter_.empty()) {
    plan_ = std::make_unique<models::ModelPlan>(files_.config(), files_.config_name(),
                                                std::make_unique<nn::ParamPolicy>(dtype));
    return;
  }
  auto policy = std::make_unique<lora::LoraPolicy>(dtype, lora::ReadAdapterConfig(adapter_));
  const lora::LoraPolicy& lora_policy = *policy;
  plan_ =
      std::make_unique<models::ModelPlan>(files_.config(), files_.config_name(), std::move(policy));
  lora_policy.CheckTargets();
  lora::CheckAdapter(adapter_, plan_->specs());
}

void LoadedModel::Load() {
  client_ = OpenClient(values_);
  const pjrt::Device device = client_->default_device();
  parameters_ = models::LoadParameters(files_, plan_->specs(), device, 0);
  if (!adapter_.empty()) lora::LoadAdapter(adapter_, plan_->specs(), device, parameters_);
  for (pjrt::Buffer& buffer : parameters_) pointers_.push_back(&buffer);
}

}  // namespace sophia::cli
