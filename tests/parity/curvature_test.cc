// Estimates of the Hessian's diagonal on a model with adapters, against differences of gradients
// and against the Fisher matrix summed over all labels.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/lora/peft.h"
#include "sophia/models/weights.h"
#include "sophia/nn/loss.h"
#include "sophia/pjrt/test_support.h"
#include "sophia/runtime/program.h"
#include "sophia/train/gradients.h"
#include "sophia/train/setup.h"

namespace sophia::train {
namespace {

using Vector = std::vector<double>;

constexpr int64_t kSeq = 6;
constexpr int64_t kVocab = 128;
constexpr int64_t kBatch = 2;
const std::filesystem::path kFixtures = SOPHIA_SOURCE_DIR "/tests/fixtures";

struct StepValues {
  Vector gradient;
  Vector curvature;
  Vector directions;
  double loss = 0;
};

// A step of the fixtures' model, whose last two positions of each sequence are trained.
class CurvatureTest : public ::testing::Test {
 protected:
  void Compile(optim::Curvature curvature, int64_t accumulation, const std::string& quant = "none",
               std::optional<pallas::Mode> kernels = std::nullopt) {
    TrainOptions options{.model = kFixtures / "llama/gqa",
                         .init_adapter = kFixtures / "sft/adapters/all_linear",
                         .dtype = DType::kF32,
                         .quant = quant};
    options.lora = lora::ReadAdapterConfig(options.init_adapter);
    files_.emplace(models::ModelFiles::Open(options.model));
    plan_ = BuildModel(options, *files_);
    if (kernels) plan_->policy->set_kernels({.mode = *kernels});
    accumulation_ = accumulation;
    const BatchShape shape{
        .accumulation = accumulation, .batch = kBatch, .seq = kSeq, .loss_positions = 2 * kBatch};
    Graph graph;
    const std::vector<Tensor> all = models::BindInputs(graph, *plan_);
    std::vector<size_t> trainable;
    std::vector<Tensor> parameters;
    for (size_t i = 0; i < all.size(); ++i) {
      if (!plan_->specs()[i].trainable) continue;
      trainable.push_back(i);
      parameters.push_back(all[i]);
    }
    StepData data;
    data.ids = graph.AddInput({DType::kS32, {accumulation, kBatch, kSeq}}, {});
    data.positions = graph.AddInput({DType::kS32, {accumulation, 2 * kBatch}}, {});
    data.labels = graph.AddInput({DType::kS32, {accumulation, 2 * kBatch}}, {});
    data.seed = graph.AddInput({DType::kU64, {}}, {});
    {
      const Tracing tracing(graph);
      const Tensor trained = Sum(Convert(Ge(data.labels, 0.0), DType::kF32));
      const StepGradients gradients(*plan_, {.shape = shape, .policy = {}, .trainable = trainable},
                                    parameters, data, 1.0 / Max(trained, 1.0));
      const auto output = [&](const std::vector<Tensor>& tensors) {
        for (const Tensor& tensor : tensors) graph.AddOutput(tensor, {});
      };
      const LossAndGrads first = gradients.OfLoss();
      graph.AddOutput(first.loss, {});
      output(first.grads);
      output(gradients.Curvature(curvature));
      output(RandomDirections(data.seed, parameters));
    }
    program_ = std::make_unique<Program>(Program::Compile(pjrt::SharedCpuClient(), graph));
    const pjrt::Device device = pjrt::SharedCpuClient().default_device();
    buffers_ = models::LoadParameters(*files_, *plan_, device, 1);
    lora::LoadAdapter(options.init_adapter, plan_->specs(), device, buffers_);
  }

  // With `shift` added to the trainable parameters. `labels`: of all micro-batches.
  StepValues Run(const std::vector<int32_t>& labels, uint64_t seed, const Vector& shift = {}) {
    const pjrt::Device device = pjrt::SharedCpuClient().default_device();
    std::vector<pjrt::Buffer> data;
    std::vector<int32_t> ids(static_cast<size_t>(accumulation_ * kBatch * kSeq));
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>((i * 37 + 11) % kVocab);
    std::vector<int32_t> positions;
    for (int64_t i = 0; i < accumulation_ * kBatch; ++i) {
      const auto row = static_cast<int32_t>(i % kBatch * kSeq);
      positions.insert(positions.end(), {row + 3, row + 5});
    }
    const Dims rows = {accumulation_, 2 * kBatch};
    data.push_back(
        pjrt::Buffer::FromHost(device, {DType::kS32, {accumulation_, kBatch, kSeq}}, ids));
    data.push_back(pjrt::Buffer::FromHost(device, {DType::kS32, rows}, positions));
    data.push_back(pjrt::Buffer::FromHost(device, {DType::kS32, rows}, labels));
    data.push_back(
        pjrt::Buffer::FromHost(device, {DType::kU64, {}}, std::vector<uint64_t>{seed << 32}));

    std::vector<pjrt::Buffer> shifted;
    shifted.reserve(buffers_.size());
    std::vector<pjrt::Buffer*> arguments;
    size_t at = 0;
    for (size_t i = 0; i < buffers_.size(); ++i) {
      arguments.push_back(&buffers_[i]);
      if (shift.empty() || !plan_->specs()[i].trainable) continue;
      std::vector<float> values = buffers_[i].ToVector<float>();
      for (float& value : values) value += static_cast<float>(shift[at++]);
      shifted.push_back(pjrt::Buffer::FromHost(device, buffers_[i].shape(), values));
      arguments.back() = &shifted.back();
    }
    for (pjrt::Buffer& buffer : data) arguments.push_back(&buffer);
    const std::vector<pjrt::Buffer> results = program_->Run(arguments);
    StepValues values;
    values.loss = results[0].ToVector<float>()[0];
    const size_t third = results.size() / 3;
    Vector* parts[] = {&values.gradient, &values.curvature, &values.directions};
    for (size_t i = 1; i < results.size(); ++i) {
      const std::vector<float> flat = results[i].ToVector<float>();
      Vector& part = *parts[(i - 1) / third];
      part.insert(part.end(), flat.begin(), flat.end());
    }
    return values;
  }

  // Of all micro-batches.
  std::vector<int32_t> Labels() const {
    std::vector<int32_t> labels(static_cast<size_t>(accumulation_ * 2 * kBatch));
    for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int32_t>(i * 29 % kVocab);
    labels[1] = nn::kIgnoredLabel;
    return labels;
  }

  // The change of the gradient along `directions`, by central differences.
  Vector Change(const Vector& directions, double step) {
    Vector shift = directions;
    for (double& value : shift) value *= step;
    const Vector ahead = Run(Labels(), 5, shift).gradient;
    for (double& value : shift) value = -value;
    Vector change = Run(Labels(), 5, shift).gradient;
    for (size_t i = 0; i < change.size(); ++i) change[i] = (ahead[i] - change[i]) / (2 * step);
    return change;
  }

  // Differences of two steps, extrapolated to none.
  void ExpectHutchinsonAsDifferences() {
    constexpr double kStep = 5e-4;
    const StepValues here = Run(Labels(), 5);
    const Vector& u = here.directions;
    const Vector fine = Change(u, kStep);
    const Vector coarse = Change(u, 2 * kStep);
    double error = 0;
    double size = 0;
    for (size_t i = 0; i < u.size(); ++i) {
      EXPECT_EQ(std::abs(u[i]), 1);
      const double change = (4 * fine[i] - coarse[i]) / 3;
      error += std::pow(here.curvature[i] - change * u[i], 2);
      size += std::pow(change, 2);
    }
    EXPECT_GT(size, 0);
    EXPECT_LT(std::sqrt(error / size), 1e-3);
    EXPECT_LT(std::abs(std::accumulate(u.begin(), u.end(), 0.0)),
              4 * std::sqrt(static_cast<double>(u.size())));
    EXPECT_NE(Run(Labels(), 6).directions, u);
  }

  std::optional<models::ModelFiles> files_;
  std::unique_ptr<models::ModelPlan> plan_;
  std::unique_ptr<Program> program_;
  std::vector<pjrt::Buffer> buffers_;
  int64_t accumulation_ = 1;
};

// With micro-batches, packed weights and kernels, instead of which the estimate takes plain ops.
TEST_F(CurvatureTest, HutchinsonIsTheChangeOfTheGradient) {
  Compile(optim::Curvature::kHutchinson, 2, "int8", pallas::Mode::kInterpret);
  ExpectHutchinsonAsDifferences();
}

// E[N · ĝ ⊙ ĝ] = 1/N Σ_n Σ_y p_n(y) g_n(y)², with p_n(y) from -log p as the loss has it.
TEST_F(CurvatureTest, GaussNewtonBartlettIsTheFisherMatrixInTheMean) {
  Compile(optim::Curvature::kGaussNewtonBartlett, 1);
  const std::vector<int32_t> none(2 * kBatch, nn::kIgnoredLabel);
  const auto trace = [](const Vector& diagonal) {
    return std::accumulate(diagonal.begin(), diagonal.end(), 0.0);
  };
  const auto square = [](const Vector& gradient) {
    return std::inner_product(gradient.begin(), gradient.end(), gradient.begin(), 0.0);
  };
  const std::vector<size_t> trained = {0, 3};
  double fisher = 0;
  for (const size_t position : trained) {
    double total = 0;
    for (int32_t label = 0; label < kVocab; ++label) {
      std::vector<int32_t> labels = none;
      labels[position] = label;
      const StepValues one = Run(labels, 1);
      total += std::exp(-one.loss);
      fisher += std::exp(-one.loss) * square(one.gradient) / static_cast<double>(trained.size());
    }
    EXPECT_NEAR(total, 1, 1e-4);
  }
  std::vector<int32_t> labels = none;
  for (const size_t position : trained) labels[position] = 7;
  constexpr int kDraws = 400;
  double sum = 0;
  double squares = 0;
  for (uint64_t seed = 0; seed < kDraws; ++seed) {
    const double drawn = trace(Run(labels, seed).curvature);
    sum += drawn;
    squares += drawn * drawn;
  }
  const double mean = sum / kDraws;
  const double deviation = std::sqrt((squares / kDraws - mean * mean) / kDraws);
  EXPECT_LT(deviation, 0.1 * mean);
  EXPECT_NEAR(mean, fisher, 4 * deviation);
}

}  // namespace
}  // namespace sophia::train
