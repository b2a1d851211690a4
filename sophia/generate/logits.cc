#include "sophia/generate/logits.h"

#include "sophia/base/error.h"
#include "sophia/generate/programs.h"
#include "sophia/generate/token_ids.h"
#include "sophia/runtime/program.h"

namespace sophia::generate {

std::vector<float> FullLogits(const models::ModelPlan& plan,
                              std::span<pjrt::Buffer* const> parameters, const TokenBatch& tokens,
                              const CompileCache* cache) {
  SOPHIA_CHECK(!parameters.empty() &&
               static_cast<int64_t>(tokens.ids.size()) == tokens.batch * tokens.seq);
  if (tokens.ids.empty()) {
    Fail("logits", "expected at least one token, got ids of sizes [{}, {}]", tokens.batch,
         tokens.seq);
  }
  CheckIds(tokens.ids, plan.model->sizes().vocab, "logits");
  const pjrt::Device device = parameters[0]->device();
  const Program program =
      Program::Compile(device.client(), *TraceLogits(plan, tokens.batch, tokens.seq),
                       {.name = "logits", .device = device, .cache = cache});
  pjrt::Buffer ids = pjrt::Buffer::FromHost(device, {DType::kS32, {tokens.batch, tokens.seq}},
                                            std::as_bytes(tokens.ids));
  std::vector<pjrt::Buffer*> arguments(parameters.begin(), parameters.end());
  arguments.push_back(&ids);
  return program.Run(arguments)[0].ToVector<float>();
}

}  // namespace sophia::generate
