#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sophia/io/jinja/runtime.h"

namespace sophia::io::jinja {

bool IsFilter(std::string_view name);
bool IsTest(std::string_view name);
// " (did you mean 'x'?)" or nothing.
std::string SuggestFilter(std::string_view name);
std::string SuggestTest(std::string_view name);

// jinja2's filters and tests; Fault for unknown names and bad arguments. `tojson` is transformers'.
Value ApplyFilter(Runtime& runtime, std::string_view name, const Value& input,
                  const Arguments& arguments);
bool ApplyTest(Runtime& runtime, std::string_view name, const Value& subject,
               const Arguments& arguments);

// A bound method of Python's str, list, tuple or dict. Methods that change their object give an
// undefined value that faults when it is used.
std::optional<Value> Method(const Value& object, std::string_view name);

// The value at a path such as "function.name" or "0.id"; `fallback` replaces what is undefined.
Value ByPath(Runtime& runtime, const Value& item, const Value& path,
             const Value* fallback = nullptr);

Value CallValue(Runtime& runtime, const Value& callee, const Arguments& arguments);

// range, dict, namespace, cycler, joiner, raise_exception, strftime_now.
std::vector<std::pair<std::string, Value>> Globals();

// The result of namespace(): the one kind of value that templates change.
class Namespace : public Object {
 public:
  Namespace() : Object(Extent{}) {}

  std::string TypeName() const override { return "Namespace"; }
  std::optional<Value> Attribute(Runtime& runtime, std::string_view name) override;
  void Set(const Value& name, Value value) { members_.Set(name, std::move(value)); }
  void Release() override { members_ = Dict(); }

 private:
  Dict members_;
};

// A callable of C++. `extent` is that of the values it holds.
class Callback : public Object {
 public:
  using Function = std::function<Value(Runtime&, const Arguments&)>;

  Callback(Extent extent, Function function) : Object(extent), function_(std::move(function)) {}

  std::string TypeName() const override { return "function"; }
  bool callable() const override { return true; }
  Value Call(Runtime& runtime, const Arguments& arguments) override {
    return function_(runtime, arguments);
  }

 private:
  Function function_;
};

// Tables of the built-ins, by kind.
std::vector<Builtin> TextFilters();
std::vector<Builtin> NumberFilters();
std::vector<Builtin> SequenceFilters();
std::vector<Builtin> SelectionFilters();

}  // namespace sophia::io::jinja
