#include <algorithm>
#include <string>
#include <vector>

#include "sophia/io/jinja/builtins.h"
#include "sophia/io/jinja/ops.h"
#include "sophia/io/jinja/print.h"
#include "sophia/io/jinja/text.h"

namespace sophia::io::jinja {
namespace {

Value DefaultFilter(Runtime&, const Value& self, const Bound& bound) {
  const bool replaces = self.is_undefined() || (bound.Flag(1, false) && !Truthy(self));
  if (!replaces) return self;
  return bound.Has(0) ? bound[0] : Value("");
}

Value AttrFilter(Runtime& runtime, const Value& self, const Bound& bound) {
  const std::string name = bound.Text(0, "");
  if (self.dict() != nullptr && !Method(self, name)) {
    return Value::Missing(fmt::format("'dict object' has no attribute '{}'", name));
  }
  return Attribute(runtime, self, name);
}

const Value* Named(const Arguments& arguments, std::string_view name) {
  for (const auto& [key, value] : arguments.named) {
    if (key == name) return &value;
  }
  return nullptr;
}

// The arguments of the filter or test that `map` and `select` apply.
Arguments Without(const Arguments& arguments, size_t positional) {
  Arguments rest;
  rest.positional.assign(arguments.positional.begin() + static_cast<ptrdiff_t>(positional),
                         arguments.positional.end());
  rest.named = arguments.named;
  return rest;
}

std::string NameOf(const Value& value) {
  if (!value.is_string()) Raise("expected the name of a filter or test, got {}", Repr(value));
  return *value.text();
}

Value MapFilter(Runtime& runtime, const Value& self, const Bound& bound) {
  if (!Truthy(self)) return MakeIterator({});
  const Arguments& arguments = bound.arguments();
  std::vector<Value> mapped;
  if (arguments.positional.empty()) {
    const Value* path = Named(arguments, "attribute");
    if (path == nullptr) Raise("map requires a filter argument");
    for (const auto& [name, value] : arguments.named) {
      if (name != "attribute" && name != "default") Raise("Unexpected keyword argument '{}'", name);
    }
    for (const Value& item : Items(self)) {
      mapped.push_back(ByPath(runtime, item, *path, Named(arguments, "default")));
    }
    return MakeIterator(std::move(mapped));
  }
  const std::string name = NameOf(arguments.positional[0]);
  const Arguments rest = Without(arguments, 1);
  for (const Value& item : Items(self)) mapped.push_back(ApplyFilter(runtime, name, item, rest));
  return MakeIterator(std::move(mapped));
}

// select, reject, selectattr and rejectattr.
template <bool kWanted, bool kByAttribute>
Value Select(Runtime& runtime, const Value& self, const Bound& bound) {
  if (!Truthy(self)) return MakeIterator({});
  const Arguments& arguments = bound.arguments();
  if (kByAttribute && arguments.positional.empty()) Raise("Missing parameter for attribute name");
  const size_t offset = kByAttribute ? 1 : 0;
  const bool has_test = arguments.positional.size() > offset;
  const Arguments rest = has_test ? Without(arguments, offset + 1) : Arguments{};
  std::vector<Value> selected;
  for (const Value& item : Items(self)) {
    const Value subject = kByAttribute ? ByPath(runtime, item, arguments.positional[0]) : item;
    const bool holds = has_test
                           ? ApplyTest(runtime, NameOf(arguments.positional[offset]), subject, rest)
                           : Truthy(subject);
    runtime.Charge(1);
    if (holds == kWanted) selected.push_back(item);
  }
  return MakeIterator(std::move(selected));
}

}  // namespace

Value ByPath(Runtime& runtime, const Value& item, const Value& path, const Value* fallback) {
  runtime.Charge(1);
  if (path.is_none()) return item;
  if (path.text() == nullptr) {
    const Value value = Item(runtime, item, path);
    return value.is_undefined() && fallback != nullptr && !fallback->is_none() ? *fallback : value;
  }
  Value value = item;
  for (const std::string& part : SplitOn(*path.text(), ".", -1, false)) {
    const bool number = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    value = Item(runtime, value, number ? Value(*ParseInt(part, 10)) : Value(part));
    if (value.is_undefined() && fallback != nullptr && !fallback->is_none()) value = *fallback;
  }
  return value;
}

std::vector<Builtin> SelectionFilters() {
  return {
      {"attr", {"name"}, 1, AttrFilter},
      {"d", {"default_value", "boolean"}, 0, DefaultFilter},
      {"default", {"default_value", "boolean"}, 0, DefaultFilter},
      {"map", {"*"}, 0, MapFilter},
      {"reject", {"*"}, 0, Select<false, false>},
      {"rejectattr", {"*"}, 0, Select<false, true>},
      {"select", {"*"}, 0, Select<true, false>},
      {"selectattr", {"*"}, 0, Select<true, true>},
  };
}

}  // namespace sophia::io::jinja
