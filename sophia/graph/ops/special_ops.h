#pragma once

#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sophia/graph/graph.h"

namespace sophia {

// The identity, through which no gradient flows.
Tensor StopGradient(const Tensor& x, Loc loc = Loc::current());

// The identity; names x for Remat::Named (jax.ad_checkpoint.checkpoint_name).
Tensor CheckpointName(const Tensor& x, std::string name, Loc loc = Loc::current());

// The identity, which the compiler moves nothing across.
std::vector<Tensor> OptimizationBarrier(const std::vector<Tensor>& values,
                                        Loc loc = Loc::current());

// Asks the partitioner to lay x out so; the graph must have a mesh.
Tensor ShardingConstraint(const Tensor& x, const Sharding& sharding, Loc loc = Loc::current());

// `#sdy.sharding<@mesh, [{"data"}, {}]>`.
std::string ShardingText(const Sharding& sharding);

// The identity; the result lies in the device's memory, or in pages of the host that the device
// reaches (jax.device_put to "device" or "pinned_host"). On the way there may only be slices and
// updates of slices.
enum class Placement : uint8_t { kDevice, kPinnedHost };
Tensor Place(const Tensor& x, Placement where, Loc loc = Loc::current());
// Whether a tensor is the result of Place(…, Placement::kPinnedHost).
bool IsOnHost(const Tensor& tensor);
// Whether it is the result of Place(…, Placement::kDevice).
bool IsFetched(const Tensor& tensor);

struct CustomCallOptions {
  std::string backend_config = {};
  bool typed_ffi = false;  // API version 4: backend_config is an MLIR dictionary
  bool has_side_effect = false;
  std::string name = {};  // with the line of `loc`, in the compiler's messages and profiles
  std::vector<Dims> operand_layouts = {};  // minor-to-major orders, or none for the default
  std::vector<Dims> result_layouts = {};
  // Pairs of result and operand that share a buffer.
  std::vector<std::pair<int64_t, int64_t>> output_operand_aliases = {};
};

// A call to a function that the plugin knows by name. Has no gradient; wrap it in CustomVjp.
std::vector<Tensor> CustomCall(const std::string& target, const std::vector<Tensor>& operands,
                               const std::vector<Shape>& results,
                               const CustomCallOptions& options = {}, Loc loc = Loc::current());

// A function with a hand-written gradient (jax.custom_vjp). A second derivative goes through
// `backward` and the residuals.
struct CustomVjpOutput {
  std::vector<Tensor> outputs;
  std::vector<Tensor> residuals;
};
using CustomForward = std::function<CustomVjpOutput(std::span<const Tensor> primals)>;
// Returns one cotangent for each primal; an undefined Tensor stands for zero.
using CustomBackward = std::function<std::vector<Tensor>(std::span<const Tensor> residuals,
                                                         std::span<const Tensor> cotangents)>;
std::vector<Tensor> CustomVjp(const std::vector<Tensor>& primals, const CustomForward& forward,
                              CustomBackward backward, Loc loc = Loc::current());
// The same with a rule that makes only what is asked for, or refuses it: `wanted` says of each
// primal whether its cotangent is used.
using SelectiveBackward = std::function<std::vector<Tensor>(std::span<const Tensor> residuals,
                                                            std::span<const Tensor> cotangents,
                                                            const std::vector<bool>& wanted)>;
std::vector<Tensor> CustomVjp(const std::vector<Tensor>& primals, const CustomForward& forward,
                              SelectiveBackward backward, Loc loc = Loc::current());

struct CustomVjpRule {
  SelectiveBackward backward;
  size_t primals = 0;
  size_t outputs = 0;
};

extern const OpDef kStopGradient;
extern const OpDef kCheckpointName;
extern const OpDef kCustomVjp;

// What an identity in the program stands for: the value behind StopGradient, CheckpointName and
// CustomVjp results; other tensors are returned as they are.
Tensor AliasedValue(const Tensor& tensor);

}  // namespace sophia
