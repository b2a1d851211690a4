#include "sophia/train/prove.h"

#include <algorithm>

#include "sophia/base/sha256.h"
#include "sophia/base/strings.h"

namespace sophia::train {
namespace {

constexpr int64_t kSteps = 10;
constexpr size_t kNamesShown = 3;

// The bytes themselves where the device's memory is the host's.
std::optional<std::span<const std::byte>> InPlace(const pjrt::Buffer& buffer) {
  if (buffer.client().platform_name() != "cpu") return std::nullopt;
  const int64_t bytes = buffer.shape().bytes();
  const std::optional<uintptr_t> address = buffer.UnsafePointer();
  if (!address || buffer.device_bytes() != bytes) return std::nullopt;
  buffer.Await();
  return std::span(reinterpret_cast<const std::byte*>(*address), static_cast<size_t>(bytes));
}

std::string HashOf(const pjrt::Buffer& buffer) {
  Sha256 hash;
  if (const auto bytes = InPlace(buffer)) {
    hash.Update(*bytes);
    return hash.HexDigest();
  }
  std::vector<std::byte> copy(static_cast<size_t>(buffer.shape().bytes()));
  buffer.ToHost(copy);
  hash.Update(copy);
  return hash.HexDigest();
}

}  // namespace

std::vector<std::string> BaseHashes(const std::vector<nn::ParamSpec>& specs,
                                    const std::vector<pjrt::Buffer>& parameters) {
  std::vector<std::string> hashes;
  for (size_t i = 0; i < specs.size(); ++i) {
    hashes.emplace_back();
    if (!specs[i].trainable) hashes.back() = HashOf(parameters[i]);
  }
  return hashes;
}

std::string Digest(const std::vector<std::string>& hashes) {
  Sha256 hash;
  for (const std::string& one : hashes) hash.Update(one);
  return hash.HexDigest();
}

std::vector<std::string> CompareBase(const std::vector<nn::ParamSpec>& specs,
                                     const std::vector<std::string>& before,
                                     const std::vector<std::string>& after) {
  std::vector<std::string> moved;
  for (size_t i = 0; i < specs.size(); ++i) {
    if (!specs[i].trainable && before[i] != after[i]) moved.push_back(specs[i].path);
  }
  return moved;
}

std::string MovedNames(const std::vector<std::string>& moved) {
  const size_t shown = std::min(moved.size(), kNamesShown);
  std::string text = "moved: " + Join({moved.begin(), moved.begin() + shown}, ", ");
  if (moved.size() > shown) text += fmt::format(" and {} more", moved.size() - shown);
  return text;
}

std::string_view Trend(double before, double after) {
  if (after < before) return "loss fell";
  return after == before ? "loss is the same" : "loss rose";
}

// What a proof that fails lacks.
std::string Missing(const ProofResult& result) {
  std::vector<std::string> missing;
  if (!result.loss_fell) missing.emplace_back("the loss did not fall");
  if (!result.gradients_flow) missing.emplace_back("no gradient reached A or B in the last step");
  if (!result.moved.empty()) missing.emplace_back("base weights moved");
  return Join(missing, ", ");
}

ProofResult Prove(const TrainOptions& options, const TrainEnvironment& environment,
                  std::FILE* console) {
  TrainOptions ten_steps = options;
  ten_steps.max_steps = kSteps;
  TrainingRun run(ten_steps, environment, {"lora_A", "lora_B"});
  const std::vector<std::string> before = BaseHashes(run.specs(), run.parameters());
  const Batch batch = run.NextBatch();

  ProofResult result;
  fmt::print(console, "data: {}\n", run.data().summary);
  fmt::print(console, "{:>4}  {:>9}  {:>12}  {:>12}  {}\n", "step", "loss", "|grad A|", "|grad B|",
             "status");
  for (int64_t i = 0; i < kSteps; ++i) {
    const StepMetrics metrics = run.Step(batch);
    fmt::print(console, "{:>4}  {:>9.5f}  {:>12.4e}  {:>12.4e}  {}\n", metrics.step, metrics.loss,
               metrics.group_norms[0], metrics.group_norms[1],
               result.steps.empty() ? "start" : Trend(result.steps.back().loss, metrics.loss));
    std::fflush(console);
    result.steps.push_back(metrics);
  }
  const std::vector<std::string> after = BaseHashes(run.specs(), run.parameters());
  result.base_weights = std::ranges::count(run.specs(), false, &nn::ParamSpec::trainable);
  result.moved = CompareBase(run.specs(), before, after);
  const StepMetrics& last = result.steps.back();
  result.loss_fell = last.loss < result.steps.front().loss;
  result.gradients_flow = last.group_norms[0] > 0 && last.group_norms[1] > 0;

  fmt::print(console, "W before: {}\nW after:  {}\n", Digest(before), Digest(after));
  fmt::print(console, "{} base weights, {} moved; loss {:.5f} -> {:.5f}: {}\n", result.base_weights,
             result.moved.size(), result.steps.front().loss, last.loss,
             result.holds() ? "the proof holds" : "the proof FAILS: " + Missing(result));
  for (size_t i = 0; i < last.parts.size(); ++i) {
    fmt::print(console, "{} {:.5f} -> {:.5f}\n", last.parts[i].first,
               result.steps.front().parts[i].second, last.parts[i].second);
  }
  if (!result.moved.empty()) fmt::print(console, "{}\n", MovedNames(result.moved));
  return result;
}

}  // namespace sophia::train
