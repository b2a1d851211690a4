#pragma once

#include <functional>

#include "sophia/nn/param.h"

namespace sophia::nn {

// Attention whose heads do not depend on each other, a few of them at a time where the scope's
// ActivationPolicy says so. A reverse pass then computes each group again, so that queries, keys,
// values and their gradients exist for one group only, in either pass.
class HeadGroups {
 public:
  // Of `kv_heads` key-value heads, each with the queries that belong to it.
  HeadGroups(const ParamScope& scope, int64_t kv_heads)
      : policy_(&scope.policy()), kv_heads_(kv_heads) {}

  using Function = std::function<Tensor(const EqualPart& heads)>;
  // function(part): [B, S, width / parts], of consecutive heads -> [B, S, width]. `function` may
  // use what is traced around it. Throws Error where a group's size does not divide the KV heads.
  Tensor operator()(const Function& function) const;

 private:
  const ParamPolicy* policy_;
  int64_t kv_heads_;
};

}  // namespace sophia::nn
