#include "sophia/io/jinja/runtime.h"

#include <algorithm>

namespace sophia::io::jinja {

Bound::Bound(std::string_view callee, const std::vector<std::string_view>& parameters,
             size_t required, const Arguments& arguments)
    : callee_(callee), arguments_(arguments) {
  if (parameters.size() == 1 && parameters[0] == "*") return;
  if (arguments.positional.size() > parameters.size()) {
    Raise("{}: expected at most {} arguments, got {}", callee, parameters.size(),
          arguments.positional.size());
  }
  values_.resize(parameters.size(), nullptr);
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto at = std::find(parameters.begin(), parameters.end(), name);
    if (at == parameters.end()) Raise("{}: got an unexpected keyword argument '{}'", callee, name);
    const auto slot = static_cast<size_t>(at - parameters.begin());
    if (values_[slot] != nullptr) Raise("{}: got two values for argument '{}'", callee, name);
    values_[slot] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (values_[i] == nullptr) Raise("{}: expected the argument '{}'", callee, parameters[i]);
  }
}

const Value& Bound::operator[](size_t i) const {
  static const Value kNone;
  return Has(i) ? *values_[i] : kNone;
}

std::string Bound::Text(size_t i, std::string_view fallback) const {
  if (!Has(i)) return std::string(fallback);
  const std::string* text = values_[i]->text();
  if (text == nullptr) {
    RequireDefined(*values_[i]);
    Raise("{}: expected a string, got '{}'", callee_, TypeName(*values_[i]));
  }
  return *text;
}

Int Bound::Integer(size_t i, Int fallback) const {
  if (!Has(i) || values_[i]->is_none()) return fallback;
  const auto integer = values_[i]->integer();
  if (!integer) {
    RequireDefined(*values_[i]);
    Raise("{}: expected an integer, got '{}'", callee_, TypeName(*values_[i]));
  }
  return *integer;
}

bool Bound::Flag(size_t i, bool fallback) const { return Has(i) ? Truthy(*values_[i]) : fallback; }

Value Invoke(Runtime& runtime, const Builtin& builtin, const Value& self,
             const Arguments& arguments) {
  runtime.Charge(self);
  runtime.Charge(arguments);
  const Bound bound(builtin.name, builtin.parameters, builtin.required, arguments);
  Value result = builtin.call(runtime, self, bound);
  runtime.Charge(result);
  return result;
}

}  // namespace sophia::io::jinja
