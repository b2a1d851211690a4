#pragma once

#include <string>
#include <vector>

#include "sophia/graph/ops/special_ops.h"
#include "sophia/pallas/kernel.h"

namespace sophia::pallas {

struct TextOptions {
  bool locations = false;  // operations carry file name and line of user code
};

// The kernel as a Mosaic module: versioned generic MLIR text (`stable_mosaic`, version 11). The
// same trace gives the same bytes.
std::string MosaicText(const Kernel& kernel, const TextOptions& options = {});

// The JSON that libtpu reads beside the operands: the module with locations in base64, cost, VMEM
// limit.
std::string BackendConfig(const Kernel& kernel);

// The kernel as a `tpu_custom_call` in the graph being traced. Has no gradient.
std::vector<Tensor> MosaicCall(const Kernel& kernel, const std::vector<Tensor>& inputs, Loc loc);
// Whether a node of a graph is such a call.
bool IsMosaicCall(const Node& node);

// A file for tools/mosaic: the text after comment lines that hold operand and result types, aliases
// and the configuration.
std::string KernelFile(const Kernel& kernel);

}  // namespace sophia::pallas
