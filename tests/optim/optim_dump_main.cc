// Runs optimiser cases for tests/python/test_optim.py: optim_dump PLUGIN < cases.json. Reads an
// array of cases and prints an array of what every step gave.
#include <fmt/format.h>

#include <iostream>
#include <iterator>

#include "sophia/base/json.h"
#include "tests/optim/optim_run.h"

namespace sophia::optim {
namespace {

constexpr std::string_view kWhere = "case";

Schedule ParseSchedule(const Json& json) {
  return {.kind = ScheduleKindFromName(Require<std::string>(json, "kind", kWhere)),
          .learning_rate = Require<double>(json, "learning_rate", kWhere),
          .warmup_steps = Require<int64_t>(json, "warmup_steps", kWhere),
          .total_steps = Require<int64_t>(json, "total_steps", kWhere)};
}

Transform ParseTransform(const Json& json, const Schedule& schedule) {
  const auto name = Require<std::string>(json, "name", kWhere);
  const auto number = [&](const char* key, double fallback) {
    return FindOr<double>(json, key, fallback, kWhere);
  };
  const UpdateOptions update{.schedule = schedule,
                             .weight_decay = number("weight_decay", 0),
                             .max_grad_norm = number("max_norm", 0)};
  const AdamOptions adam = {number("b1", 0.9), number("b2", 0.999), number("eps", 1e-8)};
  if (name == "adamw") return AdamW({.update = update, .adam = adam});
  if (name == "adamw_mean_bf16") {
    return AdamW({.update = update, .adam = adam, .moments = MomentStorage::kBF16Mean});
  }
  if (name == "adafactor") return Adafactor({.update = update});
  if (name == "lion") return Lion({.update = update, .b1 = adam.b1, .b2 = adam.b2});
  if (name == "muon") {
    return Muon({.update = update, .consistent_rms = number("consistent_rms", 0), .adam = adam});
  }
  if (name == "sophia") {
    return Sophia({.update = update,
                   .b1 = adam.b1,
                   .b2 = adam.b2,
                   .eps = adam.eps,
                   .gamma = number("gamma", 0.05),
                   .update_interval = Require<int64_t>(json, "update_interval", kWhere)});
  }
  if (name != "sgd") Fail(kWhere, "expected a known optimiser, got '{}'", name);
  return Sgd(update);
}

Json RunCase(const pjrt::Client& client, const Json& json) {
  const Schedule schedule = ParseSchedule(json.at("schedule"));
  const auto dtype = DTypeFromName(Require<std::string>(json, "dtype", kWhere));
  if (!dtype) Fail(kWhere, "expected an element type, got {}", Dump(json.at("dtype")));
  OptimCase test{ParseTransform(json.at("optimizer"), schedule), schedule};
  for (const Json& dims : json.at("dims")) {
    const std::string name = std::to_string(test.parameters.size());
    NamedShape& parameter =
        test.parameters.emplace_back(NamedShape{name, {*dtype, dims.get<Dims>()}});
    parameter.stacked = parameter.shape.dims.size() == 3;
    parameter.rate_factor = json.at("rate_factors")[test.parameters.size() - 1];
  }
  test.initial = json.at("initial").get<std::vector<Values>>();
  test.grads = json.at("grads").get<std::vector<std::vector<Values>>>();
  if (json.contains("curvatures")) {
    test.curvatures = json.at("curvatures").get<std::vector<std::vector<Values>>>();
  }
  Json steps = Json::array();
  for (const OptimStep& step : RunOptim(client, test)) {
    steps.push_back({{"params", step.params},
                     {"state", step.state},
                     {"learning_rate", step.learning_rate},
                     {"grad_norm", step.grad_norm}});
  }
  return steps;
}

int Main(const char* plugin) {
  const std::string text(std::istreambuf_iterator<char>(std::cin), {});
  const auto client = pjrt::Client::Create(pjrt::Plugin::Load(plugin));
  Json results = Json::array();
  for (const Json& json : ParseJson(text, "stdin")) results.push_back(RunCase(*client, json));
  std::cout << Dump(results);
  return 0;
}

}  // namespace
}  // namespace sophia::optim

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: optim_dump PLUGIN < cases.json\n");
    return 2;
  }
  try {
    return sophia::optim::Main(argv[1]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "optim_dump: {}\n", error.what());
    return 1;
  }
}
