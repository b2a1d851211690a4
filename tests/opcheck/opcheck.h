#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sophia/graph/op.h"
#include "sophia/pjrt/client.h"

namespace sophia {

// Dense host values of one tensor, as double whatever the element type.
struct HostValue {
  Shape shape;
  std::vector<double> values;
};

// One op sample, run forward and backward.
struct OpRun {
  std::vector<HostValue> inputs;
  std::vector<HostValue> outputs;
  std::vector<HostValue> cotangents;  // of the float outputs
  std::vector<HostValue> gradients;   // of the float inputs
};

// The samples of every op and those of ProgramSamples().
std::vector<OpSample> AllSamples();

// Dense row-major bytes in the shape's element type.
std::vector<std::byte> ToBytes(const HostValue& host);

// Draws inputs from the sample's range and cotangents from [-1, 1] by `seed`, compiles and runs.
// With `wide`, f32 inputs are traced as f64.
OpRun RunSample(const pjrt::Client& client, const OpSample& sample, unsigned seed, bool wide,
                bool differentiate);

// The outputs for each of several lists of inputs, of one program.
std::vector<std::vector<HostValue>> RunForward(const pjrt::Client& client, const OpSample& sample,
                                               const std::vector<std::vector<HostValue>>& inputs);

}  // namespace sophia
