#include "sophia/nn/param.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/kernels/quant_matmul.h"
#include "sophia/quant/unpack.h"

namespace sophia::nn {

Shape ParamSpec::shape() const {
  Shape shape{dtype, dims};
  if (layers > 0) shape.dims.insert(shape.dims.begin(), layers);
  return shape;
}

std::vector<int64_t> ParamSpec::PresentLayers() const {
  if (!present_layers.empty()) return present_layers;
  std::vector<int64_t> all(static_cast<size_t>(std::max<int64_t>(layers, 1)));
  std::iota(all.begin(), all.end(), int64_t{0});
  return all;
}

std::string ParamSpec::PathOf(int64_t layer) const {
  return ReplaceAll(path, "{}", std::to_string(layer));
}

std::string ParamSpec::SourceOf(int64_t layer) const {
  return ReplaceAll(source.empty() ? path : source, "{}", std::to_string(layer));
}

std::string ParamSpec::name() const {
  if (packed.format == nullptr) return path;
  return fmt::format("{}/{}", path, packed.format->parts[packed.part].name);
}

int64_t ParamSpec::parameters() const {
  if (!layer_dims.empty()) {
    int64_t sum = 0;
    for (const int64_t layer : PresentLayers()) sum += Product(DimsOf(layer));
    return sum;
  }
  if (packed.format == nullptr) return shape().elements();
  return packed.part == 0 ? std::max<int64_t>(layers, 1) * packed.unpacked.elements() : 0;
}

const ParamSpec& Param::spec() const { return table_->specs()[index_]; }

std::vector<Tensor> Param::Parts() const {
  std::vector<Tensor> parts;
  for (size_t i = 0; i < spec().packed.format->parts.size(); ++i) {
    parts.push_back(table_->value(index_ + i));
  }
  return parts;
}

Tensor Param::value() const {
  SOPHIA_CHECK(defined(), "value of an undeclared parameter");
  const quant::PackedFormat* format = spec().packed.format;
  if (format != nullptr) return quant::Unpack(*format, Parts(), spec().packed.unpacked.dtype);
  return Convert(table_->value(index_), spec().read_as.value_or(spec().dtype));
}

Tensor Param::Multiply(const Tensor& x, const kernels::KernelTarget& target,
                       const EqualPart& rows) const {
  const quant::PackedFormat* format = spec().packed.format;
  if (format == nullptr) {
    return MatMul(x, Convert(TakePart(value(), 0, rows), x.dtype()), {.transposed = true});
  }
  return kernels::QuantMatMul(x, *format, Parts(), target, {.rows = rows});
}

Tensor Param::Rows(const Tensor& ids) const {
  SOPHIA_CHECK(defined(), "rows of an undeclared parameter");
  const quant::PackedFormat* format = spec().packed.format;
  if (format != nullptr) {
    return quant::UnpackRows(*format, Parts(), ids, spec().packed.unpacked.dtype);
  }
  return Convert(Take(table_->value(index_), ids, 0), spec().read_as.value_or(spec().dtype));
}

size_t ParamTable::Add(ParamSpec spec) {
  for (const ParamSpec& other : specs_) {
    SOPHIA_CHECK(other.name() != spec.name(), "parameter '{}' is declared twice", spec.name());
  }
  specs_.push_back(std::move(spec));
  return specs_.size() - 1;
}

void ParamTable::Bind(std::vector<Tensor> values) {
  SOPHIA_CHECK(values.size() == specs_.size(), "{} values for {} parameters", values.size(),
               specs_.size());
  values_ = std::move(values);
}

Tensor ParamTable::value(size_t index) const {
  SOPHIA_CHECK(index < values_.size(), "parameters have no values: no trace is bound");
  return IsOnHost(specs_[index]) ? Place(values_[index], Placement::kDevice) : values_[index];
}

std::unique_ptr<LinearExtension> ParamPolicy::ExtendLinear(const ParamScope&, int64_t,
                                                           int64_t) const {
  return nullptr;
}

bool ParamPolicy::Trains(std::string_view) const { return false; }

ParamScope ParamScope::operator/(std::string_view name) const {
  ParamScope child = *this;
  if (!child.path_.empty()) child.path_ += '.';
  child.path_ += name;
  return child;
}

ParamScope ParamScope::Layers(int64_t count) const {
  SOPHIA_CHECK(layers_ == 0, "layers within layers at '{}'", path_);
  ParamScope child = *this / "{}";
  child.layers_ = count;
  return child;
}

Param ParamScope::Declare(std::string_view name, Dims dims, const ParamOptions& options) const {
  ParamSpec spec{.path = (*this / name).path(),
                 .dims = std::move(dims),
                 .layers = layers_,
                 .dtype = options.trainable ? options.dtype : policy_->dtype(),
                 .trainable = options.trainable,
                 .init = options.init,
                 .present_layers = options.present_layers,
                 .layer_dims = options.layer_dims,
                 .is_table = options.is_table,
                 .source = options.source};
  if (!spec.trainable && policy_->Trains(path_)) {
    spec.trainable = true;
    spec.read_as = std::exchange(spec.dtype, DType::kF32);
  }
  const quant::PackedFormat* format = nullptr;
  if (options.may_pack && policy_->packing() && !spec.trainable) {
    format = policy_->packing()(spec);
  }
  if (format == nullptr) return {table_, table_->Add(std::move(spec))};
  const size_t first = table_->specs().size();
  const Shape unpacked{spec.dtype, spec.dims};
  for (size_t part = 0; part < format->parts.size(); ++part) {
    spec.packed = {.format = format, .part = part, .unpacked = unpacked};
    spec.dims = quant::PartDims(*format, part, unpacked.dims);
    spec.dtype = format->parts[part].dtype;
    table_->Add(spec);
  }
  return {table_, first};
}

}  // namespace sophia::nn
