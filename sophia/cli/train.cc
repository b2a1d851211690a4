#include <csignal>
#include <cstdio>

#include "sophia/cli/commands.h"
#include "sophia/cli/engine.h"
#include "sophia/cli/eval_options.h"
#include "sophia/cli/output_options.h"
#include "sophia/cli/train_options.h"
#include "sophia/plan/verdict.h"
#include "sophia/report/server.h"
#include "sophia/train/prove.h"
#include "sophia/train/trainer.h"

namespace sophia::cli {
namespace {

// What a shell reports for a program that a signal ended is this plus the signal.
constexpr int kSignalled = 128;

const char* SignalName(int signal) { return signal == SIGINT ? "SIGINT" : "SIGTERM"; }

// Says of each step that is compiled what it needs.
train::TrainEnvironment EnvironmentFrom(const Values& values) {
  const OpenedDevice opened = OpenDevice(values);
  const auto found = std::make_shared<Json>();
  return {
      .client = opened.client,
      .chosen_device = opened.device,
      .cache = CompileCache::Default(),
      .on_compiled =
          [device = opened.device, found](const Program& step, const train::MemoryPolicy& policy) {
            const plan::Verdict verdict = plan::Judge(step, device);
            fmt::print("plan: policy {}, {}\n", policy.ToString(), plan::ToText(verdict));
            std::fflush(stdout);
            *found = plan::ToJson(verdict);
            (*found)["policy"] = policy.ToString();
            return verdict.fits();
          },
      .on_evaluation_compiled =
          [device = opened.device](const Program& evaluation, int64_t state) {
            const plan::Verdict verdict = plan::Judge(evaluation, device, state);
            if (!verdict.fits()) fmt::print("plan: evaluation, {}\n", plan::ToText(verdict));
            return verdict.fits();
          },
      .plan = [found] { return *found; }};
}

std::string_view BestMetricName(const train::TrainOptions& options) {
  return train::kEvalMetricNames[static_cast<size_t>(options.eval.metric)];
}

// Before the run begins, so that a port in use is known at once.
std::unique_ptr<report::LiveServer> Serve(const Values& values,
                                          const std::filesystem::path& folder) {
  if (!values.Has("serve")) {
    if (!values.Has("serve_host")) return nullptr;
    throw UsageError("expected --serve PORT beside --serve-host, got none");
  }
  auto server = std::make_unique<report::LiveServer>(
      folder, report::ServerOptions{.host = values.NeedText("serve_host"),
                                    .port = static_cast<int>(values.Integer("serve"))});
  fmt::print("live page: {}\n", server->url());
  return server;
}

}  // namespace

int RunTrain(const Values& values) {
  train::TrainOptions options = TrainOptionsFrom(values);
  options.max_steps = values.Integer("max_steps");
  options.num_train_epochs = values.Number("num_train_epochs");
  options.data_weights = values.Numbers("data_weights");
  options.streaming = values.Flag("streaming");
  options.eval = EvalOptionsFrom(values);
  const train::OutputOptions output = OutputOptionsFrom(values);
  const auto server = Serve(values, output.folder);
  const train::TrainResult result = train::Train(options, EnvironmentFrom(values), output, stdout);
  if (result.steps > 0) {
    fmt::print("{} steps in {:.1f} s, loss {:.4f} -> {:.4f}\n", result.steps, result.train_seconds,
               result.first_loss, result.last_loss);
  }
  if (result.stopped_early) {
    fmt::print("stopped early after step {} of {}: {} evaluations without an improvement\n",
               result.last_step, result.total_steps, result.best.evaluations_since);
  }
  if (result.best.metric) {
    fmt::print("best: {} {:.4f} at step {}{}\n", BestMetricName(options), *result.best.metric,
               result.best.step,
               result.best.checkpoint.empty() ? "" : ", " + result.best.checkpoint.string());
  }
  if (result.signal == 0) {
    fmt::print("adapter: {}\n", output.folder.string());
    return 0;
  }
  fmt::print("stopped by {} after step {} of {}; ", SignalName(result.signal), result.last_step,
             result.total_steps);
  fmt::print("{}\n", result.checkpoint ? "--resume continues from " + result.checkpoint->string()
                                       : "nothing is saved");
  return kSignalled + result.signal;
}

int RunProve(const Values& values) {
  const train::ProofResult result =
      train::Prove(TrainOptionsFrom(values), EnvironmentFrom(values), stdout);
  return result.holds() ? 0 : 1;
}

}  // namespace sophia::cli
