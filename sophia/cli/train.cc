#include <cstdio>

#include "sophia/cli/commands.h"
#include "sophia/cli/engine.h"
#include "sophia/cli/train_options.h"
#include "sophia/train/prove.h"
#include "sophia/train/trainer.h"

namespace sophia::cli {
namespace {

train::TrainEnvironment EnvironmentFrom(const Values& values) {
  const OpenedDevice opened = OpenDevice(values);
  return {
      .client = opened.client, .chosen_device = opened.device, .cache = CompileCache::Default()};
}

}  // namespace

int RunTrain(const Values& values) {
  train::TrainOptions options = TrainOptionsFrom(values);
  options.max_steps = values.Integer("max_steps");
  options.num_train_epochs = values.Number("num_train_epochs");
  const std::string out = values.NeedText("output_dir");
  const train::TrainResult result = train::Train(options, EnvironmentFrom(values), out, stdout);
  fmt::print("{} steps in {:.1f} s, loss {:.4f} -> {:.4f}\nadapter: {}\n", result.steps,
             result.train_seconds, result.first_loss, result.last_loss, result.adapter.string());
  return 0;
}

int RunProve(const Values& values) {
  const train::ProofResult result =
      train::Prove(TrainOptionsFrom(values), EnvironmentFrom(values), stdout);
  return result.holds() ? 0 : 1;
}

}  // namespace sophia::cli
