#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/optim/optimizers.h"

// What the optimisers are made of.
namespace sophia::optim {

// A transform without state: `function` maps the UpdateArgs to updates.
template <typename Function>
Transform Stateless(Function function) {
  return {.slots = [](std::span<const NamedShape>) { return std::vector<Slot>(); },
          .update = [function](const UpdateArgs& args) -> Update {
            return {.updates = function(args), .state = {}};
          }};
}

// One f32 slot of zeros for each parameter and prefix, prefix by prefix.
std::function<std::vector<Slot>(std::span<const NamedShape>)> ZeroSlots(
    std::vector<std::string> prefixes);

// 1 - decay^count, of count f32[], as -expm1(count log decay): in f32, 1 - 0.999f alone is off by
// 1e-5.
Tensor BiasCorrection(double decay, const Tensor& count);

// Clipping, `direction`, decay and learning rate.
Transform Scheduled(const UpdateOptions& options, Transform direction);

// The rate (f32[]) of one parameter.
Tensor ScaledRate(const Tensor& rate, const NamedShape& parameter);

// Throw Error naming `where` and the value.
void CheckFraction(std::string_view where, std::string_view name, double value);
void CheckNotNegative(std::string_view where, std::string_view name, double value);
void CheckPositive(std::string_view where, std::string_view name, double value);

}  // namespace sophia::optim
