#include "tests/opcheck/programs.h"

#include <cmath>

#include "sophia/autodiff/autodiff.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "tests/opcheck/transformer.h"

namespace sophia {
namespace {

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;

const Shape kVector{DType::kF32, {3}};
const Shape kStack{DType::kF32, {4, 3}};

// The gradient of a scalar function, as a function.
TensorFunction GradOf(const TensorFunction& function) {
  return [function](In in) {
    const LossFunction loss = [&](In arguments) -> Loss { return {function(arguments)[0]}; };
    return ValueAndGrad(loss, Out(in.begin(), in.end())).grads;
  };
}

// sin(x) w with a gradient of its own (which is the true one).
Tensor SinTimes(const Tensor& x, const Tensor& w) {
  return CustomVjp(
      {x, w},
      [](In p) -> CustomVjpOutput {
        return {.outputs = {Sin(p[0]) * p[1]}, .residuals = {p[0], p[1]}};
      },
      [](In r, In g) {
        return Out{g[0] * (Cos(r[0]) * r[1]), g[0] * Sin(r[0])};
      })[0];
}

// A step with a named value, values worth keeping and cheap ones.
Tensor Step(const Tensor& x, const Tensor& w) {
  const Tensor product = CheckpointName(Sin(x * w), "product");
  return Tanh(product + x) * product;
}

ScanBody StepBody(const std::function<Tensor(Tensor, Tensor)>& step) {
  return [step](In carry, In xs) -> ScanStep {
    const Tensor next = step(carry[0], xs[0]);
    return {{next}, {next * carry[0]}};
  };
}

Out Outputs(const ScanResult& result) {
  Out outputs = result.carry;
  outputs.insert(outputs.end(), result.ys.begin(), result.ys.end());
  return outputs;
}

struct NamedRemat {
  const char* name;
  Remat remat;
};

std::vector<NamedRemat> Policies() {
  return {{"everything", Remat::Everything()},
          {"nothing", Remat::Nothing()},
          {"named", Remat::Named({"product"})}};
}

// One sample for each policy.
std::vector<OpSample> WithPolicies(const std::string& name, const std::vector<Shape>& inputs,
                                   const std::function<Out(In, const Remat&)>& function) {
  std::vector<OpSample> samples;
  for (const auto& [policy, remat] : Policies()) {
    samples.push_back({"program/" + name + "/" + policy, inputs,
                       [function, remat = remat](In in) { return function(in, remat); }});
  }
  return samples;
}

std::vector<OpSample> SecondDerivatives() {
  const TensorFunction scalar = [](In in) { return Out{Sum(Sin(in[0]) * in[0] * in[0] * in[1])}; };
  const TensorFunction scanned = [](In in) {
    const ScanResult result = Scan(StepBody(Step), {in[0]}, {in[1]});
    return Out{Sum(result.carry[0] * result.carry[0]) + Sum(result.ys[0])};
  };
  const TensorFunction recomputed = [](In in) {
    const ScanResult result = Scan(StepBody(Step), {in[0]}, {in[1]}, {.remat = Remat::Nothing()});
    return Out{Sum(result.carry[0] * result.ys[0])};
  };
  const TensorFunction custom = [](In in) {
    const Tensor y = SinTimes(in[0], in[1]);
    return Out{Sum(y * y)};
  };
  const TensorFunction custom_scan = [](In in) {
    const ScanResult result = Scan(StepBody([](const Tensor& x, const Tensor& w) {
                                     const Tensor y = SinTimes(x, w);
                                     return y * y;
                                   }),
                                   {in[0]}, {in[1]});
    return Out{Sum(result.carry[0])};
  };
  const TensorFunction checkpointed = [](In in) {
    const TensorFunction step = [](In x) { return Out{Step(x[0], x[1])}; };
    const Tensor once = Checkpoint(step, {in[0], in[1]})[0];
    return Out{Sum(Checkpoint(step, {once, in[1]})[0])};
  };
  const TensorFunction stopped = [](In in) {
    return Out{Sum(StopGradient(in[0] * in[0]) * in[0] * in[1])};
  };
  return {
      {"program/second_derivative", {kVector, kVector}, GradOf(scalar)},
      {"program/third_derivative", {kVector, kVector}, GradOf([first = GradOf(scalar)](In in) {
         return Out{Sum(first(in)[0] * in[0])};
       })},
      {"program/second_derivative/scan", {kVector, kStack}, GradOf(scanned)},
      {"program/second_derivative/remat", {kVector, kStack}, GradOf(recomputed)},
      {"program/second_derivative/custom_vjp", {kVector, kVector}, GradOf(custom)},
      {"program/second_derivative/custom_vjp_scan", {kVector, kStack}, GradOf(custom_scan)},
      {"program/second_derivative/checkpoint", {kVector, kVector}, GradOf(checkpointed)},
      {.name = "program/second_derivative/stop_gradient",
       .inputs = {kVector, kVector},
       .call = GradOf(stopped),
       .stops_gradient = true},
  };
}

void Append(std::vector<OpSample>& samples, const std::vector<OpSample>& more) {
  samples.insert(samples.end(), more.begin(), more.end());
}

std::vector<OpSample> Checkpoints() {
  std::vector<OpSample> samples;
  Append(samples, WithPolicies("checkpoint", {kVector, kVector}, [](In in, const Remat& remat) {
           const TensorFunction step = [](In x) { return Out{Step(x[0], x[1])}; };
           const Tensor once = Checkpoint(step, {in[0], in[1]}, remat)[0];
           return Out{Checkpoint(step, {once * in[1], in[1]}, remat)[0], once};
         }));
  Append(samples,
         WithPolicies("nested_checkpoint", {kVector, kVector}, [](In in, const Remat& remat) {
           const TensorFunction step = [](In x) { return Out{Step(x[0], x[1])}; };
           const TensorFunction twice = [&](In x) {
             const Tensor once = Checkpoint(step, {x[0], x[1]}, remat)[0];
             return Out{Step(Checkpoint(step, {once, x[1]}, remat)[0], x[0])};
           };
           return Checkpoint(twice, {Checkpoint(twice, {in[0], in[1]})[0], in[1]});
         }));
  Append(samples,
         WithPolicies("scan_in_checkpoint", {kVector, kStack}, [](In in, const Remat& remat) {
           return Checkpoint(
               [&](In x) {
                 const Tensor weight = Sin(x[0]);
                 return Outputs(Scan(StepBody([&](const Tensor& carry, const Tensor& slice) {
                                       return Step(carry * weight, slice);
                                     }),
                                     {x[0]}, {x[1]}));
               },
               {in[0], in[1]}, remat);
         }));
  Append(samples,
         WithPolicies("checkpoint_in_scan", {kVector, kStack}, [](In in, const Remat& remat) {
           return Outputs(Scan(StepBody([&](const Tensor& carry, const Tensor& slice) {
                                 const TensorFunction step = [](In x) {
                                   return Out{Step(x[0], x[1])};
                                 };
                                 const Tensor once = Checkpoint(step, {carry, slice}, remat)[0];
                                 return Checkpoint(step, {Exp(once), slice}, remat)[0];
                               }),
                               {in[0]}, {in[1]}));
         }));
  return samples;
}

// Each control structure within a scan.
std::vector<OpSample> InsideScans() {
  std::vector<OpSample> samples;
  Append(
      samples, WithPolicies("custom_vjp_in_scan", {kVector, kStack}, [](In in, const Remat& remat) {
        return Outputs(
            Scan(StepBody([](const Tensor& x, const Tensor& w) { return Step(SinTimes(x, w), w); }),
                 {in[0]}, {in[1]}, {.remat = remat}));
      }));
  Append(samples, WithPolicies("case_in_scan", {kVector, kStack}, [](In in, const Remat& remat) {
           const ScanBody body = [](In carry, In xs) -> ScanStep {
             const Tensor x = Step(carry[0], xs[0]);
             const Tensor next = Cond(
                 Gt(Sum(xs[0]), 0.0), [&] { return Out{Sin(x) * xs[0]}; },
                 [&] { return Out{x * carry[0]}; })[0];
             return {{next}, {x}};
           };
           return Outputs(Scan(body, {in[0]}, {in[1]}, {.remat = remat}));
         }));
  Append(samples, WithPolicies("call_in_scan", {kVector, kStack}, [](In in, const Remat& remat) {
           const ScanBody body = [](In carry, In xs) -> ScanStep {
             const TensorFunction step = [](In x) { return Out{Step(x[0], x[1])}; };
             const Tensor once = Call("step", step, {carry[0], xs[0]})[0];
             return {Call("step", step, {once, xs[0]}), {once}};
           };
           return Outputs(Scan(body, {in[0]}, {in[1]}, {.remat = remat}));
         }));
  Append(samples, WithPolicies("nested_scan", {kVector, {DType::kF32, {2, 4, 3}}},
                               [](In in, const Remat& remat) {
                                 const ScanBody outer = [&](In carry, In xs) -> ScanStep {
                                   const Tensor weight = Sin(carry[0]);
                                   const ScanResult inner =
                                       Scan(StepBody([&](const Tensor& x, const Tensor& w) {
                                              return Step(x * weight, w);
                                            }),
                                            {carry[0]}, {xs[0]}, {.remat = remat});
                                   return {inner.carry, {Sum(inner.ys[0], {0})}};
                                 };
                                 return Outputs(Scan(outer, {in[0]}, {in[1]}, {.remat = remat}));
                               }));
  return samples;
}

std::vector<OpSample> ScanForms() {
  return {
      {"program/scan/xs_only",
       {kVector, kStack},
       [](In in) {
         const ScanBody body = [&](In, In xs) -> ScanStep { return {{}, {Step(xs[0], in[0])}}; };
         return Scan(body, {}, {in[1]}).ys;
       }},
      {"program/scan/carry_only",
       {kVector},
       [](In in) {
         const ScanBody body = [](In carry, In) -> ScanStep { return {{Sin(carry[0]) * 1.5}}; };
         return Scan(body, {in[0]}, {}, {.length = 5}).carry;
       }},
      {"program/scan/invariant_carry",
       {kVector, kVector, kStack},
       [](In in) {
         const ScanBody body = [](In carry, In xs) -> ScanStep {
           return {{Step(carry[0], carry[1]) + xs[0], carry[1]}, {Sin(carry[1])}};
         };
         return Outputs(Scan(body, {in[0], in[1]}, {in[2]}));
       }},
      {"program/scan/integer_carry",
       {kVector, kStack},
       [](In in) {
         const ScanBody body = [](In carry, In xs) -> ScanStep {
           const Tensor factor = BroadcastTo(Convert(carry[1], carry[0].dtype()), {3});
           return {{Sin(carry[0]) * xs[0] + factor, carry[1] + 1.0}, {carry[1]}};
         };
         return Outputs(Scan(body, {in[0], Scalar(DType::kS32, 0)}, {in[1]}));
       }},
      // The loss of each of four micro-batches and the sum of their gradients.
      {"program/grad_accumulation",
       {kVector, kStack},
       [](In in) {
         const ScanBody body = [&](In carry, In xs) -> ScanStep {
           const ValueAndGradResult step =
               ValueAndGrad([&](In w) -> Loss { return {Sum(Step(w[0], xs[0]) * w[0])}; }, {in[0]});
           return {{carry[0] + step.grads[0]}, {step.value}};
         };
         return Outputs(Scan(body, {ZerosLike(in[0])}, {in[1]}));
       }},
  };
}

}  // namespace

std::vector<OpSample> ProgramSamples() {
  std::vector<OpSample> samples = SecondDerivatives();
  Append(samples, Checkpoints());
  Append(samples, InsideScans());
  Append(samples, ScanForms());
  Append(samples, TransformerSamples());
  return samples;
}

}  // namespace sophia
