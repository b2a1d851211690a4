#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "sophia/lora/module_scale.h"
#include "sophia/nn/param.h"

namespace sophia::lora {

// The adapters that one linear layer has in a stack of layers.
struct BranchLayers {
  std::vector<int64_t> present;     // empty: all
  std::vector<ModuleScale> scales;  // of every layer, those without an adapter too

  // Layers without an adapter get the shape of one that has it, as nothing depends on theirs.
  void FillAbsent();
  int64_t rank() const;  // the largest
  bool has_one_rank() const;
  bool is_uniform() const;
  // Sizes by layer, where ranks differ.
  std::vector<Dims> DimsByLayer(const std::function<Dims(int64_t rank)>& of_rank) const;
};

// The branch of a linear layer, with its parameters declared in `scope`.
std::unique_ptr<nn::LinearExtension> MakeBranch(const nn::ParamScope& scope, int64_t in,
                                                int64_t out, const LoraConfig& config,
                                                BranchLayers layers);

}  // namespace sophia::lora
