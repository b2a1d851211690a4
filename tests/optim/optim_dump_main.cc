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
  const auto weight_decay = FindOr<double>(json, "weight_decay", 0, kWhere);
  const auto max_norm = FindOr<double>(json, "max_norm", 0, kWhere);
  std::vector<Transform> transforms;
  if (max_norm > 0) transforms.push_back(ClipByGlobalNorm(max_norm));
  if (name == "adamw") {
    const AdamOptions adam = {.b1 = Require<double>(json, "b1", kWhere),
                              .b2 = Require<double>(json, "b2", kWhere),
                              .eps = Require<double>(json, "eps", kWhere)};
    transforms.push_back(AdamW({.schedule = schedule, .adam = adam, .weight_decay = weight_decay}));
  } else if (name == "sgd") {
    transforms.push_back(Sgd({.schedule = schedule, .weight_decay = weight_decay}));
  } else {
    Fail(kWhere, "expected adamw or sgd, got '{}'", name);
  }
  return Chain(transforms);
}

Json RunCase(const pjrt::Client& client, const Json& json) {
  const Schedule schedule = ParseSchedule(json.at("schedule"));
  const auto dtype = DTypeFromName(Require<std::string>(json, "dtype", kWhere));
  if (!dtype) Fail(kWhere, "expected an element type, got {}", Dump(json.at("dtype")));
  OptimCase test{ParseTransform(json.at("optimizer"), schedule), schedule};
  for (const Json& dims : json.at("dims")) {
    const std::string name = std::to_string(test.parameters.size());
    test.parameters.push_back({name, {*dtype, dims.get<Dims>()}});
  }
  test.initial = json.at("initial").get<std::vector<Values>>();
  test.grads = json.at("grads").get<std::vector<std::vector<Values>>>();
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
