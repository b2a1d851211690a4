#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "sophia/graph/ops/control_ops.h"
#include "sophia/pallas/kernel.h"

namespace sophia::pallas {

enum class Mode : uint8_t {
  kMosaic,     // a TPU kernel: compiles for TPUs only
  kInterpret,  // graph ops that do what the kernel does, on any plugin
  kReference,  // CallOptions::reference in its place
};
// "mosaic", "interpret" or "reference".
std::string_view Name(Mode mode);
std::optional<Mode> ModeFromName(std::string_view name);

// From the inputs and the cotangents of the outputs to those of the inputs; an undefined Tensor
// stands for zero. A rule that wants the outputs too wraps the call in CustomVjp itself.
using KernelVjp = std::function<std::vector<Tensor>(std::span<const Tensor> inputs,
                                                    std::span<const Tensor> cotangents)>;

struct CallOptions {
  Mode mode = Mode::kInterpret;
  // Checks the kernel against this chip while tracing.
  std::optional<Chip> chip = std::nullopt;
  // The same function in plain ops. kReference runs and differentiates it. Kept: it holds what it
  // needs by value.
  TensorFunction reference = {};
  // The gradient in the other modes; without it the reference's, which runs again in the backward
  // pass. Asking for a gradient with neither is an Error.
  KernelVjp vjp = {};
};

// jax.experimental.pallas.pallas_call: traces the body once and adds it to the graph, as one node
// in mosaic mode. Throws Error naming kernel, operand, rule and line.
std::vector<Tensor> PallasCall(const KernelSpec& spec, const KernelBody& body,
                               const std::vector<Tensor>& inputs, const CallOptions& options,
                               Loc loc = Loc::current());

// While it lives, PallasCall on this thread reports each kernel that it adds to a graph, in mode
// mosaic or interpret, with its operands and results there. An observer hides those around it.
class CallObserver {
 public:
  using Callback = std::function<void(const Kernel& kernel, std::span<const Tensor> inputs,
                                      std::span<const Tensor> outputs)>;
  explicit CallObserver(Callback callback);
  ~CallObserver();
  CallObserver(const CallObserver&) = delete;
  CallObserver& operator=(const CallObserver&) = delete;

  const Callback& callback() const { return callback_; }

 private:
  Callback callback_;
  const CallObserver* previous_;
};

}  // namespace sophia::pallas
