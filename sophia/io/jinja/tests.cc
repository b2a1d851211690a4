#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "sophia/base/strings.h"
#include "sophia/io/jinja/builtins.h"
#include "sophia/io/jinja/ops.h"
#include "sophia/io/jinja/print.h"
#include "sophia/io/jinja/text.h"

namespace sophia::io::jinja {
namespace {

Value Remainder(Runtime& runtime, const Value& value, const Value& divisor) {
  return Apply(runtime, BinaryOp::kModulo, value, divisor);
}

// Python's `is`: the same object, where equal constants count as the same.
bool Same(const Value& a, const Value& b) {
  if (a.data().index() != b.data().index()) return false;
  if (a.sequence() != nullptr) return a.sequence() == b.sequence();
  if (a.dict() != nullptr) return a.dict() == b.dict();
  return Equal(a, b);
}

bool IsSequence(const Value& value) {
  const Sequence* sequence = value.sequence();
  return value.is_undefined() || value.is_string() || value.dict() != nullptr ||
         (sequence != nullptr && sequence->indexable());
}

template <CompareOp kOp>
Value Compares(Runtime& runtime, const Value& self, const Bound& bound) {
  runtime.Charge(bound[0]);
  return Compare(kOp, self, bound[0]);
}

using TestCall = Value (*)(Runtime&, const Value&, const Bound&);

Builtin Plain(std::string_view name, TestCall call) { return {name, {}, 0, call}; }
Builtin Operand(std::string_view name, TestCall call) { return {name, {"other"}, 1, call}; }

std::vector<Builtin> TypeTests() {
  return {
      Plain("boolean", [](Runtime&, const Value& v, const Bound&) -> Value { return v.is_bool(); }),
      Plain("callable",
            [](Runtime&, const Value& v, const Bound&) -> Value {
              return v.is_undefined() || (v.object() != nullptr && v.object()->callable());
            }),
      Plain("defined",
            [](Runtime&, const Value& v, const Bound&) -> Value { return !v.is_undefined(); }),
      Plain("escaped",
            [](Runtime&, const Value& v, const Bound&) -> Value { return v.is_markup(); }),
      Plain("false",
            [](Runtime&, const Value& v, const Bound&) -> Value {
              return v.is_bool() && !Truthy(v);
            }),
      Plain("filter",
            [](Runtime&, const Value& v, const Bound&) -> Value {
              return v.is_string() && IsFilter(*v.text());
            }),
      Plain("float", [](Runtime&, const Value& v, const Bound&) -> Value { return v.is_float(); }),
      Plain("integer",
            [](Runtime&, const Value& v, const Bound&) -> Value {
              return v.is_integral() && !v.is_bool();
            }),
      Plain("iterable",
            [](Runtime&, const Value& v, const Bound&) -> Value { return Iterable(v); }),
      Plain("lower",
            [](Runtime&, const Value& v, const Bound&) -> Value { return IsLower(Str(v)); }),
      Plain("mapping",
            [](Runtime&, const Value& v, const Bound&) -> Value { return v.dict() != nullptr; }),
      Plain("none", [](Runtime&, const Value& v, const Bound&) -> Value { return v.is_none(); }),
      Plain("number",
            [](Runtime&, const Value& v, const Bound&) -> Value { return v.is_number(); }),
      Plain("sequence",
            [](Runtime&, const Value& v, const Bound&) -> Value { return IsSequence(v); }),
      Plain("string",
            [](Runtime&, const Value& v, const Bound&) -> Value { return v.is_string(); }),
      Plain("test",
            [](Runtime&, const Value& v, const Bound&) -> Value {
              return v.is_string() && IsTest(*v.text());
            }),
      Plain(
          "true",
          [](Runtime&, const Value& v, const Bound&) -> Value { return v.is_bool() && Truthy(v); }),
      Plain("undefined",
            [](Runtime&, const Value& v, const Bound&) -> Value { return v.is_undefined(); }),
      Plain("upper",
            [](Runtime&, const Value& v, const Bound&) -> Value { return IsUpper(Str(v)); }),
  };
}

std::vector<Builtin> ValueTests() {
  std::vector<Builtin> tests = {
      Plain("even",
            [](Runtime& r, const Value& v, const Bound&) -> Value {
              return Equal(Remainder(r, v, 2), 0);
            }),
      Plain("odd",
            [](Runtime& r, const Value& v, const Bound&) -> Value {
              return Equal(Remainder(r, v, 2), 1);
            }),
      Operand("divisibleby",
              [](Runtime& r, const Value& v, const Bound& b) -> Value {
                return Equal(Remainder(r, v, b[0]), 0);
              }),
      Operand("in", Compares<CompareOp::kIn>),
      Operand("sameas",
              [](Runtime&, const Value& v, const Bound& b) -> Value { return Same(v, b[0]); }),
  };
  const auto add = [&](TestCall call, std::initializer_list<std::string_view> names) {
    for (const std::string_view name : names) tests.push_back(Operand(name, call));
  };
  add(Compares<CompareOp::kEqual>, {"==", "eq", "equalto"});
  add(Compares<CompareOp::kNotEqual>, {"!=", "ne"});
  add(Compares<CompareOp::kLess>, {"<", "lt", "lessthan"});
  add(Compares<CompareOp::kLessEqual>, {"<=", "le"});
  add(Compares<CompareOp::kGreater>, {">", "gt", "greaterthan"});
  add(Compares<CompareOp::kGreaterEqual>, {">=", "ge"});
  return tests;
}

using Table = std::unordered_map<std::string_view, Builtin>;

Table MakeTable(std::initializer_list<std::vector<Builtin>> lists) {
  Table table;
  for (const auto& list : lists) {
    for (const Builtin& builtin : list) table.emplace(builtin.name, builtin);
  }
  return table;
}

const Table& Filters() {
  static const Table kTable =
      MakeTable({TextFilters(), NumberFilters(), SequenceFilters(), SelectionFilters()});
  return kTable;
}

const Table& Tests() {
  static const Table kTable = MakeTable({TypeTests(), ValueTests()});
  return kTable;
}

std::string Suggest(const Table& table, std::string_view name) {
  std::vector<std::string> names;
  for (const auto& [known, builtin] : table) names.emplace_back(known);
  std::sort(names.begin(), names.end());
  return DidYouMean(name, names);
}

Value ApplyFrom(Runtime& runtime, const Table& table, std::string_view kind, std::string_view name,
                const Value& self, const Arguments& arguments) {
  const Runtime::Level level(runtime);
  const auto found = table.find(name);
  if (found == table.end()) {
    Raise("expected a known {}, got '{}'{}", kind, name, Suggest(table, name));
  }
  return Invoke(runtime, found->second, self, arguments);
}

}  // namespace

bool IsFilter(std::string_view name) { return Filters().contains(name); }
bool IsTest(std::string_view name) { return Tests().contains(name); }
std::string SuggestFilter(std::string_view name) { return Suggest(Filters(), name); }
std::string SuggestTest(std::string_view name) { return Suggest(Tests(), name); }

Value ApplyFilter(Runtime& runtime, std::string_view name, const Value& input,
                  const Arguments& arguments) {
  return ApplyFrom(runtime, Filters(), "filter", name, input, arguments);
}

bool ApplyTest(Runtime& runtime, std::string_view name, const Value& subject,
               const Arguments& arguments) {
  return Truthy(ApplyFrom(runtime, Tests(), "test", name, subject, arguments));
}

}  // namespace sophia::io::jinja
