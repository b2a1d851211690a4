#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/graph/ops/slice_ops.h"
#include "sophia/graph/tensor.h"
#include "sophia/kernels/kernel_target.h"
#include "sophia/nn/activation_policy.h"
#include "sophia/quant/packed_format.h"

namespace sophia::nn {

// Where a parameter's first value comes from.
enum class ParamInit : uint8_t {
  kCheckpoint,  // a tensor of the model's files
  kZeros,
  kRowNorms,        // of the weight [rows, in] beside it, see lora::SetMagnitudes
  kKaimingUniform,  // U(-1/sqrt(n), 1/sqrt(n)), n the last dimension (torch's kaiming_uniform,
                    // a=√5)
};

// Says that an array is one part of a packed parameter.
struct PackedArray {
  const quant::PackedFormat* format = nullptr;  // nullptr: the array is the parameter itself
  size_t part = 0;
  Shape unpacked = {};  // of the whole parameter in one layer
};

// One array of a model's parameters. Equal layers share an array with a leading dimension. A packed
// parameter is several specs of one path, one for each part of its format, in that order.
struct ParamSpec {
  std::string path;    // as in published checkpoints; "{}" stands for the layer's number
  Dims dims;           // of one layer, in the order of the checkpoint
  int64_t layers = 0;  // 0: not stacked
  DType dtype = DType::kF32;
  bool trainable = false;
  ParamInit init = ParamInit::kCheckpoint;
  // For a trainable parameter that only some layers have: these; the others' part of the array is
  // never used or saved. Empty: all layers.
  std::vector<int64_t> present_layers = {};
  // Where layers differ in size: the sizes of each layer's tensor, which is the leading part of its
  // slice of the array; the rest is never used or saved. Empty: dims for all.
  std::vector<Dims> layer_dims = {};
  PackedArray packed = {};
  bool is_table = false;              // a row for each id of the vocabulary
  std::string source = {};            // the path of the checkpoint's tensor, where it is another
  std::optional<DType> read_as = {};  // the type of value(), where it is not `dtype`

  // The layers that have the parameter; {0} when it is not stacked.
  std::vector<int64_t> PresentLayers() const;
  // The sizes of one layer's tensor.
  const Dims& DimsOf(int64_t layer) const {
    return layer_dims.empty() ? dims : layer_dims[static_cast<size_t>(layer)];
  }
  // Of the whole array: [layers, dims...] or [dims...].
  Shape shape() const;
  // The path of one layer's tensor.
  std::string PathOf(int64_t layer) const;
  // The same of what the checkpoint calls it.
  std::string SourceOf(int64_t layer) const;
  // The path, with the part of a packed parameter: "….q_proj.weight/codes".
  std::string name() const;
  // Numbers that the array adds to the model; the first part of a packed parameter counts all.
  int64_t parameters() const;
};

class ParamTable;

// A declared parameter; its value exists while the table is bound to a trace.
class Param {
 public:
  Param() = default;
  Param(const ParamTable* table, size_t index) : table_(table), index_(index) {}

  bool defined() const { return table_ != nullptr; }
  size_t index() const { return index_; }
  const ParamSpec& spec() const;
  // In a layer's body: that layer's slice. A packed parameter is unpacked, to the policy's type,
  // and one that is trained as a whole is converted to it.
  Tensor value() const;
  // x·Wᵀ with W = value() [rows, in], or a part of its rows, in x's type: x [..., in] ->
  // [..., rows]. A packed W is read by the target's kernel.
  Tensor Multiply(const Tensor& x, const kernels::KernelTarget& target,
                  const EqualPart& rows = {}) const;
  // value()'s rows at `ids`, integers [...] -> [..., in].
  Tensor Rows(const Tensor& ids) const;
  // The arrays of a packed parameter, in the order of its format.
  std::vector<Tensor> Parts() const;

 private:
  const ParamTable* table_ = nullptr;
  size_t index_ = 0;
};

// The parameters of one model in the order of declaration, and their values in the current trace.
class ParamTable {
 public:
  size_t Add(ParamSpec spec);
  const std::vector<ParamSpec>& specs() const { return specs_; }

  // Gives every parameter its tensor in the graph being traced, in the order of specs().
  void Bind(std::vector<Tensor> values);
  void Set(size_t index, const Tensor& value) { values_[index] = value; }
  // On the device, which takes a transfer for what IsOnHost() says.
  Tensor value(size_t index) const;
  // Where it lies.
  const Tensor& bound(size_t index) const { return values_.at(index); }

  // From now on, frozen tables are values in the host's memory.
  void set_tables_on_host(bool on_host) { tables_on_host_ = on_host; }
  bool IsOnHost(const ParamSpec& spec) const {
    return tables_on_host_ && spec.is_table && !spec.trainable;
  }

  // A u64 scalar from which dropout draws, different for each step; undefined: dropout is off.
  void set_dropout_seed(const Tensor& seed) { dropout_seed_ = seed; }
  const Tensor& dropout_seed() const { return dropout_seed_; }

  // The number of the layer being traced, an s32 scalar; undefined outside a stack of layers.
  void set_layer(const Tensor& layer) { layer_ = layer; }
  const Tensor& layer() const { return layer_; }

 private:
  std::vector<ParamSpec> specs_;
  std::vector<Tensor> values_;
  bool tables_on_host_ = false;
  Tensor dropout_seed_;
  Tensor layer_;
};

class ParamScope;

// The parameters of a linear layer.
struct LinearParams {
  Param weight;  // [out, in]
  Param bias;    // [out], or not defined
};

// What a policy adds to a linear layer, such as a LoRA branch.
class LinearExtension {
 public:
  virtual ~LinearExtension() = default;
  // x: [..., in], y = x·Wᵀ (+ b): [..., out], of `outputs`; returns the new y.
  virtual Tensor Apply(const LinearParams& layer, const Tensor& x, const Tensor& y,
                       const EqualPart& outputs) const = 0;
};

// How a frozen weight is kept, given its spec as if it were not packed; nullptr: as that says.
using PackingRule = std::function<const quant::PackedFormat*(const ParamSpec&)>;

// Decisions that models leave open: types and storage of weights, what linear layers carry, which
// kernels compute, what the reverse pass keeps.
class ParamPolicy {
 public:
  explicit ParamPolicy(DType dtype) : dtype_(dtype) {}
  virtual ~ParamPolicy() = default;
  ParamPolicy(const ParamPolicy&) = delete;
  ParamPolicy& operator=(const ParamPolicy&) = delete;

  // Of frozen weights and of activations.
  DType dtype() const { return dtype_; }
  // nullptr: a plain layer. `scope` is the layer's own, e.g. model.layers.{}.self_attn.q_proj.
  virtual std::unique_ptr<LinearExtension> ExtendLinear(const ParamScope& scope, int64_t in,
                                                        int64_t out) const;

  // Whether a module's own parameters are trained as a whole, in f32 from the checkpoint's values.
  // `module`: the path as in specs. Asked of every module with parameters, so a policy may note
  // what there is.
  virtual bool Trains(std::string_view module) const;

  void set_packing(PackingRule rule) { packing_ = std::move(rule); }
  const PackingRule& packing() const { return packing_; }

  // For what is traced from now on; plain ops at first.
  void set_kernels(const kernels::KernelTarget& target) { kernels_ = target; }
  const kernels::KernelTarget& kernels() const { return kernels_; }

  // Of what is traced from now on.
  void set_activations(const ActivationPolicy& activations) { activations_ = activations; }
  const ActivationPolicy& activations() const { return activations_; }

 private:
  DType dtype_;
  PackingRule packing_;
  kernels::KernelTarget kernels_;
  ActivationPolicy activations_;
};

struct ParamOptions {
  bool trainable = false;
  ParamInit init = ParamInit::kCheckpoint;
  DType dtype = DType::kF32;  // of trainable parameters; frozen ones follow the policy
  std::vector<int64_t> present_layers = {};
  std::vector<Dims> layer_dims = {};
  bool may_pack = false;    // frozen weights [rows, in] that are not read by their tensor
  bool is_table = false;    // see ParamSpec
  std::string source = {};  // see ParamSpec
};

// A place in the model's tree of names, with the policies that hold there.
class ParamScope {
 public:
  ParamScope(ParamTable* table, const ParamPolicy* policy) : table_(table), policy_(policy) {}

  // The child `path.name`.
  ParamScope operator/(std::string_view name) const;
  // `path.{}`: parameters declared below are stacked over `count` layers.
  ParamScope Layers(int64_t count) const;

  Param Declare(std::string_view name, Dims dims, const ParamOptions& options = {}) const;

  const std::string& path() const { return path_; }
  int64_t layers() const { return layers_; }
  const ParamPolicy& policy() const { return *policy_; }
  ParamTable& table() const { return *table_; }

 private:
  ParamTable* table_;
  const ParamPolicy* policy_;
  std::string path_;
  int64_t layers_ = 0;
};

}  // namespace sophia::nn
