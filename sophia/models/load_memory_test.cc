// What loading a sharded checkpoint takes beside the weights on the device.
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "sophia/base/file.h"
#include "sophia/base/json.h"
#include "sophia/io/safetensors.h"
#include "sophia/models/model_files.h"
#include "sophia/models/model_plan.h"
#include "sophia/models/weights.h"
#include "sophia/pjrt/test_support.h"

namespace sophia::models {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLayers = 12;
constexpr int64_t kWidth = 384;
constexpr int64_t kInner = 1024;
constexpr int64_t kVocab = 512;

const Json kConfig = {{"model_type", "llama"},        {"vocab_size", kVocab},
                      {"hidden_size", kWidth},        {"intermediate_size", kInner},
                      {"num_hidden_layers", kLayers}, {"num_attention_heads", 6},
                      {"num_key_value_heads", 6},     {"max_position_embeddings", 128},
                      {"rms_norm_eps", 1e-5},         {"tie_word_embeddings", true}};

// A shard for every layer; all values are the layer, counted from 1.
void WriteModel(const fs::path& folder, const std::vector<nn::ParamSpec>& specs) {
  Json map;
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string shard = fmt::format("model-{}.safetensors", layer);
    std::vector<std::vector<float>> values;
    std::vector<io::TensorView> tensors;
    for (const nn::ParamSpec& spec : specs) {
      if (spec.layers == 0 && layer > 0) continue;
      const Shape shape{DType::kF32, spec.dims};
      values.emplace_back(static_cast<size_t>(shape.elements()), static_cast<float>(layer + 1));
      tensors.push_back({spec.PathOf(layer), shape, std::as_bytes(std::span(values.back()))});
      map[spec.PathOf(layer)] = shard;
    }
    io::WriteSafetensors(folder / shard, tensors);
  }
  WriteFile(folder / "model.safetensors.index.json", Dump(Json{{"weight_map", map}}));
}

// Bytes, from /proc/self/status.
int64_t ProcessMemory(std::string_view key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key)) return std::stoll(line.substr(key.size())) * 1024;
  }
  return 0;
}

// Makes the peak, VmHWM, start anew at what is resident now.
bool ResetPeak() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5" << std::flush;
  return file.good();
}

TEST(LoadMemoryTest, StaysNearOneStackedParameter) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "a sanitizer's own memory would be measured";
#endif
  const TemporaryFolder folder;
  WriteFile(folder.path() / "config.json", Dump(kConfig));
  const ModelPlan plan(kConfig, "config.json", std::make_unique<nn::ParamPolicy>(DType::kF32));
  WriteModel(folder.path(), plan.specs());
  int64_t weights = 0;
  int64_t largest = 0;
  for (const nn::ParamSpec& spec : plan.specs()) {
    weights += spec.shape().bytes();
    largest = std::max(largest, spec.shape().bytes());
  }
  ASSERT_GT(weights, 4 * largest);

  const pjrt::Device device = pjrt::SharedCpuClient().default_device();
  const ModelFiles files = ModelFiles::Open(folder.path());
  if (!ResetPeak()) GTEST_SKIP() << "expected Linux's /proc/self/clear_refs, got none";
  const int64_t before = ProcessMemory("VmRSS:");
  const std::vector<pjrt::Buffer> buffers = LoadParameters(files, plan, device, 0);
  // The CPU's device memory is the host's.
  const int64_t beside = ProcessMemory("VmHWM:") - before - weights;
  EXPECT_LE(beside, largest) << "weights: " << weights;
  for (size_t i = 0; i < buffers.size(); ++i) {
    const nn::ParamSpec& spec = plan.specs()[i];
    EXPECT_EQ(buffers[i].ToVector<float>().back(),
              static_cast<float>(std::max<int64_t>(spec.layers, 1)));
  }
}

}  // namespace
}  // namespace sophia::models
