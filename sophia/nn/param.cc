#include "sophia/nn/param.h"

#include <algorithm>
#include <numeric>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"

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

const ParamSpec& Param::spec() const { return table_->specs()[index_]; }

const Tensor& Param::value() const {
  SOPHIA_CHECK(defined(), "value of an undeclared parameter");
  return table_->value(index_);
}

size_t ParamTable::Add(ParamSpec spec) {
  for (const ParamSpec& other : specs_) {
    SOPHIA_CHECK(other.path != spec.path, "parameter '{}' is declared twice", spec.path);
  }
  specs_.push_back(std::move(spec));
  return specs_.size() - 1;
}

void ParamTable::Bind(std::vector<Tensor> values) {
  SOPHIA_CHECK(values.size() == specs_.size(), "{} values for {} parameters", values.size(),
               specs_.size());
  values_ = std::move(values);
}

const Tensor& ParamTable::value(size_t index) const {
  SOPHIA_CHECK(index < values_.size(), "parameters have no values: no trace is bound");
  return values_[index];
}

std::unique_ptr<LinearExtension> ParamPolicy::ExtendLinear(const ParamScope&, int64_t,
                                                           int64_t) const {
  return nullptr;
}

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
  const size_t index = table_->Add({.path = (*this / name).path(),
                                    .dims = std::move(dims),
                                    .layers = layers_,
                                    .dtype = options.trainable ? options.dtype : policy_->dtype(),
                                    .trainable = options.trainable,
                                    .init = options.init,
                                    .present_layers = options.present_layers});
  return {table_, index};
}

}  // namespace sophia::nn
