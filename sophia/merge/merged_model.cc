#include "sophia/merge/merged_model.h"

#include <algorithm>
#include <cmath>

#include "sophia/base/error.h"
#include "sophia/lora/peft.h"

namespace sophia::merge {
namespace {

constexpr std::string_view kWeight = ".weight";

std::vector<float> ReadF32(const io::TensorSource& source, const std::string& name) {
  std::vector<float> values(static_cast<size_t>(source.Get(name).shape.elements()));
  source.Read(name, DType::kF32, std::span(values));
  if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) {
    Fail(source.path().string(), "expected finite numbers in '{}', got NaN or infinity", name);
  }
  return values;
}

// To the norms `magnitudes`.
void ScaleRows(const std::vector<float>& magnitudes, std::vector<float>& values) {
  const size_t in = values.size() / magnitudes.size();
  for (size_t row = 0; row < magnitudes.size(); ++row) {
    float* first = values.data() + row * in;
    double square = 0;
    for (size_t i = 0; i < in; ++i) square += static_cast<double>(first[i]) * first[i];
    const auto factor = static_cast<float>(magnitudes[row] / std::sqrt(square));
    for (size_t i = 0; i < in; ++i) first[i] *= factor;
  }
}

}  // namespace

void CheckFitsF16(const Weight& weight, const std::vector<float>& values) {
  constexpr float kMost = 65504;
  for (const float value : values) {
    if (std::abs(value) <= kMost) continue;
    Fail(weight.name, "expected values of at most {}, which f16 holds, got {:g}; bf16 holds it",
         kMost, value);
  }
}

MergedModel::MergedModel(const std::filesystem::path& model, const std::filesystem::path& adapter)
    : files_(models::ModelFiles::Open(model)) {
  std::unique_ptr<nn::ParamPolicy> policy;
  const lora::LoraPolicy* targets = nullptr;
  if (adapter.empty()) {
    policy = std::make_unique<nn::ParamPolicy>(DType::kF32);
  } else {
    lora_ = lora::ReadAdapterConfig(adapter);
    scales_ = std::make_unique<lora::ModuleScales>(*lora_);
    auto lora_policy = std::make_unique<lora::LoraPolicy>(DType::kF32, *lora_);
    targets = lora_policy.get();
    policy = std::move(lora_policy);
  }
  plan_ =
      std::make_unique<models::ModelPlan>(files_.config(), files_.config_name(), std::move(policy));
  if (targets != nullptr) {
    targets->CheckTargets();
    lora::CheckAdapter(adapter, plan_->specs());
    adapter_ = std::make_unique<io::SafetensorsFile>(adapter / "adapter_model.safetensors");
  }
  for (size_t i = 0; i < plan_->specs().size(); ++i) {
    const nn::ParamSpec& spec = plan_->specs()[i];
    if (spec.init != nn::ParamInit::kCheckpoint) continue;
    for (const int64_t layer : spec.PresentLayers()) {
      weights_.push_back({spec.PathOf(layer), spec.dims});
      places_.push_back({i, layer});
    }
  }
}

std::string MergedModel::name() const {
  const std::filesystem::path& path = files_.path();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

bool MergedModel::has_head() const {
  return std::ranges::find(weights_, "lm_head.weight", &Weight::name) != weights_.end();
}

std::vector<float> MergedModel::Read(size_t index) const {
  const Weight& weight = weights_[index];
  const Place& place = places_[index];
  if (plan_->specs()[place.spec].trainable) {
    return ReadF32(*adapter_, lora::AdapterModule(weight.name));
  }
  std::vector<float> values(static_cast<size_t>(Product(weight.dims)));
  files_.Read(plan_->specs()[place.spec], place.layer, std::as_writable_bytes(std::span(values)));
  if (adapter_ != nullptr && weight.name.ends_with(kWeight)) AddDelta(weight, values);
  return values;
}

void MergedModel::AddDelta(const Weight& weight, std::vector<float>& values) const {
  const std::string path = weight.name.substr(0, weight.name.size() - kWeight.size());
  const std::string module = lora::AdapterModule(path);
  if (adapter_->Find(module + ".lora_A.weight") == nullptr) return;
  const std::vector<float> a = ReadF32(*adapter_, module + ".lora_A.weight");  // [rank, in]
  const std::vector<float> b = ReadF32(*adapter_, module + ".lora_B.weight");  // [out, rank]
  const lora::ModuleScale own = scales_->Of(path);
  const auto scale = static_cast<float>(own.scale);
  const auto rank = static_cast<size_t>(own.rank);
  const auto in = static_cast<size_t>(weight.dims.at(1));
  const auto out = static_cast<size_t>(weight.dims.at(0));
  for (size_t row = 0; row < out; ++row) {
    float* sum = values.data() + row * in;
    for (size_t k = 0; k < rank; ++k) {
      const float factor = scale * b[row * rank + k];
      const float* from = a.data() + k * in;
      for (size_t i = 0; i < in; ++i) sum[i] += factor * from[i];
    }
  }
  const std::string magnitude = module + ".lora_magnitude_vector";
  if (lora_->use_dora) ScaleRows(ReadF32(*adapter_, magnitude), values);
}

}  // namespace sophia::merge
