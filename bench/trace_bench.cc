// Times the tracing and printing of a fine-tuning step of Llama 3 8B's shapes: trace_bench [RUNS].
// Prints one line of JSON.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <vector>

#include "sophia/graph/printer.h"
#include "sophia/lora/lora.h"
#include "sophia/train/options.h"
#include "sophia/train/step.h"

namespace sophia::train {
namespace {

const Json& Config() {
  static const Json kConfig = {{"model_type", "llama"},      {"hidden_size", 4096},
                               {"intermediate_size", 14336}, {"num_hidden_layers", 32},
                               {"num_attention_heads", 32},  {"num_key_value_heads", 8},
                               {"vocab_size", 128256},       {"rms_norm_eps", 1e-5},
                               {"rope_theta", 500000.0},     {"max_position_embeddings", 131072}};
  return kConfig;
}

// Builds the model, traces its step with LoRA of rank 16 on all linears, and prints the program.
std::string StepText() {
  const models::ModelPlan plan(
      Config(), "8B",
      std::make_unique<lora::LoraPolicy>(DType::kBF16, lora::LoraConfig{.rank = 16}));
  const TrainOptions options;
  const StepProgram step = TraceStep(
      plan, {.shape = {.accumulation = 1, .batch = 1, .seq = 2048, .loss_positions = 2048},
             .optimizer = OptimizerOf(options)});
  return ToStableHlo(*step.graph);
}

int Main(int runs) {
  std::vector<double> milliseconds;
  size_t bytes = 0;
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    bytes = StepText().size();
    const std::chrono::duration<double, std::milli> taken =
        std::chrono::steady_clock::now() - start;
    milliseconds.push_back(taken.count());
  }
  std::ranges::sort(milliseconds);
  fmt::print("{{\"trace_milliseconds\": {:.2f}, \"program_bytes\": {}, \"runs\": {}}}\n",
             milliseconds[milliseconds.size() / 2], bytes, runs);
  return 0;
}

}  // namespace
}  // namespace sophia::train

int main(int argc, char** argv) {
  return sophia::train::Main(std::max(1, argc > 1 ? std::atoi(argv[1]) : 11));
}
