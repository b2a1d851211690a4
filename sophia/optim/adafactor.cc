#include <cmath>

#include "sophia/base/error.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/optim/parts.h"

namespace sophia::optim {
namespace {

constexpr ReduceOptions kKeep = {.keep_dims = true};

// Means of rows, then of columns, of all matrices; then the whole moments of what is no matrix.
std::vector<Slot> Slots(std::span<const NamedShape> parameters) {
  std::vector<Slot> slots;
  for (const size_t dropped : {size_t{1}, size_t{2}}) {
    for (const NamedShape& parameter : parameters) {
      if (!IsMatrix(parameter)) continue;
      Dims dims = parameter.shape.dims;
      dims.erase(dims.end() - static_cast<std::ptrdiff_t>(dropped));
      slots.push_back({fmt::format("{}/{}", dropped == 1 ? "nu_row" : "nu_col", parameter.name),
                       {DType::kF32, dims}});
    }
  }
  for (const NamedShape& parameter : parameters) {
    if (IsMatrix(parameter)) continue;
    slots.push_back({"nu/" + parameter.name, {DType::kF32, parameter.shape.dims}});
  }
  return slots;
}

// The axes of one array.
Dims OwnAxes(const NamedShape& parameter) {
  Dims axes;
  for (size_t i = parameter.stacked ? 1 : 0; i < parameter.shape.dims.size(); ++i) {
    axes.push_back(static_cast<int64_t>(i));
  }
  return axes;
}

// At most `threshold` as the root mean square of each array.
Tensor ClipByRms(const Tensor& update, const NamedShape& parameter, double threshold) {
  const Dims axes = OwnAxes(parameter);
  const Tensor square = update * update;
  const Tensor mean = axes.empty() ? square : Mean(square, axes, kKeep);
  return update / Max(Sqrt(mean) / threshold, 1.0);
}

class AdafactorUpdate {
 public:
  AdafactorUpdate(const AdafactorOptions& options, const UpdateArgs& args)
      : options_(options), args_(args), parameters_(Parameters(args)) {
    const Tensor count = Convert(args.step, DType::kF32) + 1.0;
    fresh_ = Exp(Log(count) * options.decay_rate);
  }

  Update Run() {
    size_t matrices = 0;
    for (const NamedShape& parameter : parameters_) matrices += IsMatrix(parameter) ? 1 : 0;
    result_.state.resize(args_.state.size());
    size_t row = 0;
    size_t whole = 2 * matrices;
    const TensorList grads = InF32(args_.grads);
    for (size_t i = 0; i < grads.size(); ++i) {
      const Tensor square = grads[i] * grads[i] + options_.eps;
      const Tensor update = IsMatrix(parameters_[i])
                                ? grads[i] * FactoredScale(square, row, matrices + row)
                                : grads[i] * Rsqrt(Advance(whole, square));
      ++(IsMatrix(parameters_[i]) ? row : whole);
      result_.updates.push_back(ClipByRms(update, parameters_[i], options_.clip_threshold));
    }
    return std::move(result_);
  }

 private:
  Tensor Advance(size_t slot, const Tensor& value) {
    return result_.state[slot] = args_.state[slot] * (1.0 - fresh_) + value * fresh_;
  }

  // rsqrt of the rank-one estimate rows·columnsᵀ / mean(rows).
  Tensor FactoredScale(const Tensor& square, size_t row_slot, size_t column_slot) {
    const Tensor rows = Advance(row_slot, Mean(square, {-1}));
    const Tensor columns = Advance(column_slot, Mean(square, {-2}));
    const Tensor of_rows = Rsqrt(rows / Mean(rows, {-1}, kKeep));
    return ExpandDims(of_rows, rows.rank()) * ExpandDims(Rsqrt(columns), columns.rank() - 1);
  }

  const AdafactorOptions& options_;
  const UpdateArgs& args_;
  std::vector<NamedShape> parameters_;
  Tensor fresh_;  // weight of the new squares
  Update result_;
};

}  // namespace

Transform Adafactor(const AdafactorOptions& options) {
  CheckPositive("Adafactor", "clip_threshold", options.clip_threshold);
  CheckPositive("Adafactor", "eps", options.eps);
  if (!(options.decay_rate < 0)) {
    Fail("Adafactor", "expected decay_rate below 0, got {}", options.decay_rate);
  }
  return Scheduled(options.update, {.slots = Slots, .update = [options](const UpdateArgs& args) {
                                      return AdafactorUpdate(options, args).Run();
                                    }});
}

}  // namespace sophia::optim
