#include "sophia/lora/branch.h"

#include <algorithm>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/nn/layers.h"

namespace sophia::lora {
namespace {

// The factors of one linear layer's adapters.
class LoraBranch : public nn::LinearExtension {
 public:
  LoraBranch(const nn::ParamScope& scope, int64_t in, int64_t out, double dropout,
             BranchLayers layers)
      : table_(scope.table()),
        policy_(scope.policy()),
        a_((scope / "lora_A")
               .Declare("weight", {layers.rank(), in},
                        {.trainable = true,
                         .init = nn::ParamInit::kKaimingUniform,
                         .present_layers = layers.present,
                         .layer_dims = layers.DimsByLayer([&](int64_t r) {
                           return Dims{r, in};
                         })})),
        b_((scope / "lora_B")
               .Declare("weight", {out, layers.rank()},
                        {.trainable = true,
                         .init = nn::ParamInit::kZeros,
                         .present_layers = layers.present,
                         .layer_dims = layers.DimsByLayer([&](int64_t r) {
                           return Dims{out, r};
                         })})),
        layers_(std::move(layers)),
        dropout_(dropout) {}

  Tensor Apply(const nn::LinearParams& /*layer*/, const Tensor& x, const Tensor& y,
               const EqualPart& outputs) const override {
    return Convert(Convert(y, DType::kF32) + Branch(Dropped(x), outputs), y.dtype());
  }

 protected:
  bool drops() const { return dropout_ > 0 && table_.dropout_seed().defined(); }
  // x as f32.
  Tensor Dropped(const Tensor& x) const {
    return nn::Dropout(table_, Convert(x, DType::kF32), dropout_, a_.index(), policy_.kernels());
  }
  // scale · B·A·x in f32.
  Tensor Branch(const Tensor& x, const EqualPart& outputs) const {
    const Tensor low = CheckpointName(MatMul(x, a_.value(), {.transposed = true}), kSavedBranch);
    return MatMul(Scaled(low), TakePart(b_.value(), 0, outputs), {.transposed = true});
  }
  // [..., rank] times the layer's scale, or zero where it has no branch and in columns beyond its
  // rank. Scaling the low-rank side is the cheapest.
  Tensor Scaled(const Tensor& low) const {
    if (layers_.is_uniform()) return low * layers_.scales[0].scale;
    const int64_t columns = layers_.has_one_rank() ? 1 : layers_.rank();
    return low * ByLayer(columns, [&](const ModuleScale& own, float* scales) {
             std::fill_n(scales, std::min(columns, own.rank), static_cast<float>(own.scale));
           });
  }
  // The row [columns] of this layer; zeros in layers without an adapter.
  Tensor ByLayer(int64_t columns,
                 const std::function<void(const ModuleScale& own, float* row)>& fill) const {
    const auto count = static_cast<int64_t>(layers_.scales.size());
    std::vector<float> rows(static_cast<size_t>(count * columns), 0.0f);
    for (const int64_t layer : a_.spec().PresentLayers()) {
      fill(layers_.scales[static_cast<size_t>(layer)], rows.data() + layer * columns);
    }
    return Take(ConstantF32({count, columns}, rows), table_.layer(), 0);
  }

  const nn::ParamPolicy& policy() const { return policy_; }
  const nn::Param& a() const { return a_; }
  const nn::Param& b() const { return b_; }
  const BranchLayers& layers() const { return layers_; }

 private:
  const nn::ParamTable& table_;
  const nn::ParamPolicy& policy_;
  nn::Param a_;
  nn::Param b_;
  BranchLayers layers_;
  double dropout_;
};

// DoRA as PEFT: with V = W + scale·B·A and the norms n of its rows, which get no gradient,
// y + (m/n - 1)·x·Wᵀ + m/n · scale·B·A·x.
class DoraBranch : public LoraBranch {
 public:
  DoraBranch(const nn::ParamScope& scope, int64_t in, int64_t out, double dropout,
             const BranchLayers& layers)
      : LoraBranch(scope, in, out, dropout, layers),
        magnitude_(scope.Declare("lora_magnitude_vector", {out},
                                 {.trainable = true,
                                  .init = nn::ParamInit::kRowNorms,
                                  .present_layers = layers.present})) {}

  Tensor Apply(const nn::LinearParams& layer, const Tensor& x, const Tensor& y,
               const EqualPart& outputs) const override {
    const Tensor wide = Dropped(x);
    const Tensor out = Convert(y, DType::kF32);
    Tensor base = out;
    if (drops()) {
      base = Convert(layer.weight.Multiply(Convert(wide, x.dtype()), policy().kernels(), outputs),
                     DType::kF32);
    } else if (layer.bias.defined()) {
      base = base - Convert(TakePart(layer.bias.value(), 0, outputs), DType::kF32);
    }
    const Tensor factor =
        TakePart(magnitude_.value(), 0, outputs) / RowNorms(layer.weight, outputs);
    Tensor excess = factor - 1.0;
    if (!layers().present.empty()) {
      excess = excess * ByLayer(1, [](const ModuleScale&, float* row) { *row = 1; });
    }
    return Convert(out + base * excess + Branch(wide, outputs) * factor, y.dtype());
  }

 private:
  // |w + s·A'b|² = |w|² + 2·s·b·(A·w) + s·b·(A·A')·s·b for each row, without V: f32 [out].
  Tensor RowNorms(const nn::Param& weight, const EqualPart& rows) const {
    const Tensor w = Convert(TakePart(weight.value(), 0, rows), DType::kF32);
    const Tensor factor = StopGradient(a().value());
    const Tensor scaled = Scaled(StopGradient(TakePart(b().value(), 0, rows)));
    const auto times = [](const Tensor& left, const Tensor& right) {
      return MatMul(left, right, {.transposed = true, .precision = Precision::kHighest});
    };
    const Tensor cross = Transpose(times(factor, w), {1, 0}) * 2.0;
    const Tensor own = times(scaled, times(factor, factor));
    const Tensor square = Sum(w * w, {-1}) + Sum(scaled * (cross + own), {-1});
    return CheckpointName(Sqrt(square), kSavedBranch);
  }

  nn::Param magnitude_;
};

}  // namespace

void BranchLayers::FillAbsent() {
  for (size_t layer = 0; layer < scales.size(); ++layer) {
    if (std::ranges::find(present, static_cast<int64_t>(layer)) != present.end()) continue;
    scales[layer] = scales[static_cast<size_t>(present[0])];
  }
}

int64_t BranchLayers::rank() const { return std::ranges::max(scales, {}, &ModuleScale::rank).rank; }

bool BranchLayers::has_one_rank() const {
  return std::ranges::all_of(scales,
                             [&](const ModuleScale& one) { return one.rank == scales[0].rank; });
}

bool BranchLayers::is_uniform() const {
  return present.empty() &&
         std::ranges::all_of(scales, [&](const ModuleScale& one) { return one == scales[0]; });
}

std::vector<Dims> BranchLayers::DimsByLayer(
    const std::function<Dims(int64_t rank)>& of_rank) const {
  std::vector<Dims> dims;
  if (has_one_rank()) return dims;
  for (const ModuleScale& one : scales) dims.push_back(of_rank(one.rank));
  return dims;
}

std::unique_ptr<nn::LinearExtension> MakeBranch(const nn::ParamScope& scope, int64_t in,
                                                int64_t out, const LoraConfig& config,
                                                BranchLayers layers) {
  if (config.use_dora) {
    return std::make_unique<DoraBranch>(scope, in, out, config.dropout, layers);
  }
  return std::make_unique<LoraBranch>(scope, in, out, config.dropout, std::move(layers));
}

}  // namespace sophia::lora
