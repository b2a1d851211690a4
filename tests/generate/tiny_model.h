#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sophia/base/error_for_test.h"
#include "sophia/io/safetensors.h"
#include "sophia/lora/lora.h"
#include "sophia/lora/peft.h"
#include "sophia/models/model_files.h"
#include "sophia/models/model_plan.h"
#include "sophia/models/weights.h"
#include "sophia/pjrt/test_support.h"

namespace sophia::generate {

inline std::filesystem::path Fixture(const std::string& name) {
  return std::filesystem::path(SOPHIA_SOURCE_DIR "/tests/fixtures") / name;
}

// A model on the CPU device, with an adapter where one is given.
struct LoadedModel {
  explicit LoadedModel(const std::filesystem::path& path,
                       const std::optional<std::filesystem::path>& adapter = std::nullopt,
                       DType dtype = DType::kF32)
      : files(models::ModelFiles::Open(path)),
        plan(files.config(), files.config_name(), MakePolicy(adapter, dtype)),
        buffers(models::LoadParameters(files, plan, pjrt::SharedCpuClient().default_device(), 0)) {
    if (adapter) {
      lora::LoadAdapter(*adapter, plan.specs(), pjrt::SharedCpuClient().default_device(), buffers);
    }
    for (pjrt::Buffer& buffer : buffers) parameters.push_back(&buffer);
  }

  static std::unique_ptr<nn::ParamPolicy> MakePolicy(
      const std::optional<std::filesystem::path>& adapter, DType dtype) {
    if (!adapter) return std::make_unique<nn::ParamPolicy>(dtype);
    return std::make_unique<lora::LoraPolicy>(dtype, lora::ReadAdapterConfig(*adapter));
  }

  models::ModelFiles files;
  models::ModelPlan plan;
  std::vector<pjrt::Buffer> buffers;
  std::vector<pjrt::Buffer*> parameters;
};

struct FloatArray {
  Dims dims;
  std::vector<float> values;
};
inline FloatArray ReadFloats(const io::TensorSource& file, const std::string& name) {
  FloatArray array{file.Get(name).shape.dims, {}};
  array.values.resize(static_cast<size_t>(Product(array.dims)));
  file.Read(name, DType::kF32, std::span(array.values));
  return array;
}

struct IdArray {
  Dims dims;
  std::vector<int32_t> values;
};
inline IdArray ReadIds(const io::TensorSource& file, const std::string& name) {
  IdArray array{file.Get(name).shape.dims, {}};
  const auto count = static_cast<size_t>(Product(array.dims));
  if (file.Get(name).shape.dtype == DType::kS64) {
    std::vector<int64_t> wide(count);
    file.Read(name, DType::kS64, std::span(wide));
    array.values.assign(wide.begin(), wide.end());
  } else {
    array.values.resize(count);
    file.Read(name, DType::kS32, std::span(array.values));
  }
  return array;
}

// The largest difference as a fraction of the range of `expected`.
inline double RelativeError(std::span<const float> got, std::span<const float> expected) {
  if (got.size() != expected.size()) {
    ADD_FAILURE() << "expected " << expected.size() << " values, got " << got.size();
    return 1;
  }
  double largest = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(static_cast<double>(got[i]) - expected[i]);
    if (!(difference <= largest)) largest = difference;
  }
  const auto [low, high] = std::minmax_element(expected.begin(), expected.end());
  return largest / (static_cast<double>(*high) - *low);
}

}  // namespace sophia::generate
