#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/graph/node.h"

namespace sophia {

class RegionPrinter;

// What a shape rule sees: the operands' shapes and the static arguments.
struct ShapeArgs {
  std::string_view op;
  std::vector<Shape> inputs;
  const Attrs& attrs;
  const std::vector<std::unique_ptr<Region>>& regions;
  Loc loc;

  // Throws Error naming the op and the user's line.
  template <typename... Args>
  [[noreturn]] void Fail(fmt::format_string<Args...> format, Args&&... args) const {
    FailText(fmt::format(format, std::forward<Args>(args)...));
  }
  [[noreturn]] void FailText(const std::string& message) const;
};

// What a VJP rule sees: the forward node, the cotangents of its results, and a sink for the
// cotangents of its inputs. Everything it builds lands in the backward program.
class VjpContext {
 public:
  virtual ~VjpContext() = default;
  virtual const Node& node() const = 0;
  // Forward value of an input or result, saved or computed again as the remat policy says. Ask only
  // for what the rule uses: asking is what keeps a value alive.
  virtual Tensor In(int i) = 0;
  virtual Tensor Out(int i) = 0;
  // Cotangent of a result, zeros if nothing depends on it.
  virtual Tensor Grad(int i) = 0;
  // Whether the gradient with respect to an input is asked for.
  virtual bool Wants(int i) const = 0;
  // Adds to the cotangent of an input; ignored unless Wants(i).
  virtual void Add(int i, const Tensor& cotangent) = 0;

  const Shape& InShape(int i) const { return node().inputs[i].shape(); }
};

// One way of calling an op, used by the op tests: forward against JAX and gradients against finite
// differences and jax.vjp, with inputs drawn from [low, high].
struct OpSample {
  std::string name;
  std::vector<Shape> inputs;
  std::function<std::vector<Tensor>(std::span<const Tensor>)> call;
  double low = -2.0;
  double high = 2.0;
  // For finite differences, taken in f64: step and error relative to the gradient's magnitude.
  double step = 1e-5;
  double tolerance = 1e-6;
  bool differentiable = true;   // false: asking for the gradient is an Error
  bool stops_gradient = false;  // the gradient is not the derivative, by definition
};

// Everything there is to know about one op. Built by Op(), which refuses incomplete definitions at
// compile time.
struct OpDef {
  enum class Gradient : uint8_t {
    kRule,        // `vjp` says how
    kNone,        // integer results, or stops the gradient by definition
    kStructural,  // holds regions; autodiff knows it
    kForbidden,   // differentiating it is an error
  };
  std::string_view name;
  std::string_view mlir;  // "stablehlo.add"; empty if `print` writes it
  std::vector<Shape> (*shape)(const ShapeArgs&) = nullptr;
  Gradient gradient = Gradient::kRule;
  void (*vjp)(VjpContext&) = nullptr;
  // StableHLO attributes, "dimension = 0 : i64, ..."; none if null.
  std::string (*attributes)(const Node&) = nullptr;
  // Writes the node when the generic form does not fit.
  void (*print)(const Node&, RegionPrinter&) = nullptr;
  // Cheaper to compute again from its inputs than to keep.
  bool cheap = false;
  std::vector<OpSample> (*samples)() = nullptr;
};

// (GCC cannot compare a function's address at compile time while it sanitizes.)
consteval OpDef Op(OpDef def) {
#ifndef __SANITIZE_ADDRESS__
  if (def.name.empty()) throw "an op needs a name";
  if (def.shape == nullptr) throw "an op needs a shape rule";
  if (def.samples == nullptr) throw "an op needs samples for its tests";
  if (def.mlir.empty() == (def.print == nullptr)) throw "an op needs an MLIR name or a printer";
  if ((def.gradient == OpDef::Gradient::kRule) != (def.vjp != nullptr)) {
    throw "an op needs a VJP rule, or says that it has none";
  }
#endif
  return def;
}

// Every op, in the order of the documents and tests.
std::vector<const OpDef*> AllOps();

}  // namespace sophia
