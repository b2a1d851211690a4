#include "sophia/io/jinja/ops.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "sophia/io/jinja/builtins.h"
#include "sophia/io/jinja/format.h"
#include "sophia/io/jinja/print.h"
#include "sophia/io/jinja/text.h"

namespace sophia::io::jinja {
namespace {

constexpr Int kIntLimit = Int{1} << 125;

constexpr std::array<std::string_view, 7> kSymbols = {"+", "-", "*", "/", "//", "%", "**"};

[[noreturn]] void Unsupported(BinaryOp op, const Value& left, const Value& right) {
  RequireDefined(left);
  RequireDefined(right);
  Raise("unsupported operand type(s) for {}: '{}' and '{}'", kSymbols[static_cast<size_t>(op)],
        TypeName(left), TypeName(right));
}

Int Checked(Int value) {
  if (value > kIntLimit || value < -kIntLimit) Raise("expected an integer below 2^125");
  return value;
}

Int Multiply(Int a, Int b) {
  const Int magnitude = a < 0 ? -a : a;
  const Int other = b < 0 ? -b : b;
  if (other != 0 && magnitude > kIntLimit / other) Raise("expected an integer below 2^125");
  return a * b;
}

Int FloorDivide(Int a, Int b) {
  if (b == 0) Raise("integer division or modulo by zero");
  const Int quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Value IntPower(Int base, Int exponent) {
  if (exponent < 0) {
    if (base == 0) Raise("0.0 cannot be raised to a negative power");
    return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  }
  if (base == 0 || base == 1) return exponent == 0 ? Int{1} : base;
  if (base == -1) return exponent % 2 == 0 ? Int{1} : Int{-1};
  Int result = 1;
  for (; exponent > 0; --exponent) result = Multiply(result, base);
  return result;
}

Value IntArithmetic(BinaryOp op, Int a, Int b) {
  switch (op) {
    case BinaryOp::kAdd:
      return Checked(a + b);
    case BinaryOp::kSubtract:
      return Checked(a - b);
    case BinaryOp::kMultiply:
      return Multiply(a, b);
    case BinaryOp::kDivide:
      if (b == 0) Raise("division by zero");
      return static_cast<double>(a) / static_cast<double>(b);
    case BinaryOp::kFloorDivide:
      return FloorDivide(a, b);
    case BinaryOp::kModulo:
      return a - FloorDivide(a, b) * b;
    case BinaryOp::kPower:
      return IntPower(a, b);
  }
  return Value();
}

double FloatModulo(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

Value FloatArithmetic(BinaryOp op, double a, double b) {
  const bool divides =
      op == BinaryOp::kDivide || op == BinaryOp::kFloorDivide || op == BinaryOp::kModulo;
  if (divides && b == 0) Raise("float division by zero");
  switch (op) {
    case BinaryOp::kAdd:
      return a + b;
    case BinaryOp::kSubtract:
      return a - b;
    case BinaryOp::kMultiply:
      return a * b;
    case BinaryOp::kDivide:
      return a / b;
    case BinaryOp::kFloorDivide: {
      const double quotient = (a - FloatModulo(a, b)) / b;
      const double floor = std::floor(quotient);
      return quotient - floor > 0.5 ? floor + 1 : floor;
    }
    case BinaryOp::kModulo:
      return FloatModulo(a, b);
    case BinaryOp::kPower:
      if (a == 0 && b < 0) Raise("0.0 cannot be raised to a negative power");
      if (a < 0 && std::trunc(b) != b) Raise("expected a real power of {}", FloatRepr(a));
      return std::pow(a, b);
  }
  return Value();
}

// Concatenates texts; what is not markup is escaped when the other side is.
Value AddTexts(const Value& left, const Value& right) {
  if (!left.is_markup() && !right.is_markup()) return *left.text() + *right.text();
  const auto escaped = [](const Value& value) {
    return value.is_markup() ? *value.text() : EscapeHtml(*value.text());
  };
  return Value::Markup(escaped(left) + escaped(right));
}

bool Concatenates(const Sequence* a, const Sequence* b) {
  const auto list = [](const Sequence* s) { return s->kind == SequenceKind::kList; };
  const auto tuple = [](const Sequence* s) {
    return s->kind == SequenceKind::kTuple || s->kind == SequenceKind::kGroup;
  };
  return a != nullptr && b != nullptr && ((list(a) && list(b)) || (tuple(a) && tuple(b)));
}

Value AddSequences(const Sequence& a, const Sequence& b) {
  std::vector<Value> items = a.items;
  items.insert(items.end(), b.items.begin(), b.items.end());
  return MakeSequence(a.kind == SequenceKind::kList ? a.kind : SequenceKind::kTuple,
                      std::move(items));
}

// `value * count` for texts, lists and tuples.
std::optional<Value> Repeat(Runtime& runtime, const Value& value, Int count) {
  const Sequence* sequence = value.sequence();
  const bool repeats = sequence != nullptr && (sequence->kind == SequenceKind::kList ||
                                               sequence->kind == SequenceKind::kTuple);
  if (!value.is_string() && !repeats) return std::nullopt;
  const size_t times = count <= 0 ? 0 : static_cast<size_t>(std::min(count, Int{kMaxText} + 1));
  if (times > kMaxText) Raise("expected a repetition of at most {} times", kMaxText);
  runtime.Charge(ExtentOf(value).weight * times / 16);
  if (const std::string* text = value.text()) {
    if (text->size() * times > kMaxText) Raise("expected a text of at most {} bytes", kMaxText);
    std::string out;
    for (size_t i = 0; i < times && !text->empty(); ++i) out += *text;
    return Value(std::move(out));
  }
  std::vector<Value> items;
  for (size_t i = 0; i < times; ++i) {
    items.insert(items.end(), sequence->items.begin(), sequence->items.end());
  }
  return MakeSequence(sequence->kind, std::move(items));
}

bool Contains(const Value& container, const Value& item) {
  if (const std::string* text = container.text()) {
    if (item.text() == nullptr) {
      Raise("'in <string>' requires string as left operand, not {}", TypeName(item));
    }
    return text->find(*item.text()) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) return dict->Find(item) != nullptr;
  if (!Iterable(container)) Raise("argument of type '{}' is not iterable", TypeName(container));
  const std::vector<Value> items = Items(container);
  return std::any_of(items.begin(), items.end(),
                     [&](const Value& other) { return Equal(other, item); });
}

std::string Described(const Value& object) {
  return object.is_none() ? "None" : fmt::format("{} object", TypeName(object));
}

Value NoAttribute(const Value& object, std::string_view name) {
  return Value::Missing(fmt::format("'{}' has no attribute '{}'", Described(object), name));
}

// getattr(object, name) as the sandbox allows it.
std::optional<Value> PythonAttribute(Runtime& runtime, const Value& object, std::string_view name) {
  if (name.starts_with("__") && name.ends_with("__")) {
    return Value::Missing(
        fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, TypeName(object)));
  }
  const Sequence* sequence = object.sequence();
  if (sequence != nullptr && sequence->kind == SequenceKind::kGroup) {
    if (name == "grouper") return sequence->items[0];
    if (name == "list") return sequence->items[1];
  }
  if (object.object() != nullptr) return object.object()->Attribute(runtime, name);
  return Method(object, name);
}

// The index of a sequence of `size` items, counted from the end when negative.
std::optional<size_t> Position(const Value& key, size_t size) {
  const auto index = key.integer();
  if (!index) return std::nullopt;
  const Int position = *index < 0 ? *index + static_cast<Int>(size) : *index;
  if (position < 0 || position >= static_cast<Int>(size)) return std::nullopt;
  return static_cast<size_t>(position);
}

std::optional<Value> PythonItem(const Value& object, const Value& key) {
  if (const Dict* dict = object.dict()) {
    if (key.dict() != nullptr ||
        (key.sequence() != nullptr && key.sequence()->kind == SequenceKind::kList)) {
      return std::nullopt;
    }
    const Value* found = dict->Find(key);
    return found == nullptr ? std::nullopt : std::optional<Value>(*found);
  }
  if (const Sequence* sequence = object.sequence(); sequence != nullptr && sequence->indexable()) {
    const auto position = Position(key, sequence->items.size());
    if (position) return sequence->items[*position];
  }
  if (const std::string* text = object.text(); text != nullptr && key.is_integral()) {
    const std::u32string code_points = Decode(*text);
    const auto position = Position(key, code_points.size());
    if (position) return Value(Encode(std::u32string_view(code_points).substr(*position, 1)));
  }
  return std::nullopt;
}

// Python's slice.indices(size): the positions that a slice takes, in order.
std::vector<size_t> SlicePositions(size_t size, std::optional<Int> begin, std::optional<Int> end,
                                   Int step) {
  const Int length = static_cast<Int>(size);
  const Int lowest = step > 0 ? 0 : -1;
  const Int highest = step > 0 ? length : length - 1;
  const auto clamp = [&](std::optional<Int> bound, Int fallback) {
    if (!bound) return fallback;
    return std::clamp(*bound < 0 ? *bound + length : *bound, lowest, highest);
  };
  const Int first = clamp(begin, step > 0 ? lowest : highest);
  const Int last = clamp(end, step > 0 ? highest : lowest);
  std::vector<size_t> positions;
  for (Int i = first; step > 0 ? i < last : i > last; i += step) {
    positions.push_back(static_cast<size_t>(i));
  }
  return positions;
}

}  // namespace

Value Negate(const Value& value, bool positive) {
  RequireDefined(value);
  if (const auto integer = value.integer()) return positive ? *integer : -*integer;
  if (const auto number = value.number()) return positive ? *number : -*number;
  Raise("bad operand type for unary {}: '{}'", positive ? '+' : '-', TypeName(value));
}

Value Apply(Runtime& runtime, BinaryOp op, const Value& left, const Value& right) {
  runtime.Charge(left);
  if (op == BinaryOp::kModulo && left.is_string()) return PercentFormat(runtime, left, right);
  runtime.Charge(right);
  const auto a = left.integer();
  const auto b = right.integer();
  if (a && b) return IntArithmetic(op, *a, *b);
  if (left.is_number() && right.is_number()) {
    return FloatArithmetic(op, *left.number(), *right.number());
  }
  if (op == BinaryOp::kAdd && left.is_string() && right.is_string()) return AddTexts(left, right);
  if (op == BinaryOp::kAdd && Concatenates(left.sequence(), right.sequence())) {
    return AddSequences(*left.sequence(), *right.sequence());
  }
  if (op == BinaryOp::kMultiply && (a || b)) {
    if (const auto repeated = a ? Repeat(runtime, right, *a) : Repeat(runtime, left, *b)) {
      return *repeated;
    }
  }
  Unsupported(op, left, right);
}

bool Compare(CompareOp op, const Value& left, const Value& right) {
  switch (op) {
    case CompareOp::kEqual:
      return Equal(left, right);
    case CompareOp::kNotEqual:
      return !Equal(left, right);
    case CompareOp::kLess:
      return Less(left, right);
    case CompareOp::kGreater:
      return Less(right, left);
    case CompareOp::kLessEqual:
      return Less(left, right) || Equal(left, right);
    case CompareOp::kGreaterEqual:
      return Less(right, left) || Equal(left, right);
    case CompareOp::kIn:
      return Contains(right, left);
    case CompareOp::kNotIn:
      return !Contains(right, left);
  }
  return false;
}

Value Attribute(Runtime& runtime, const Value& object, std::string_view name) {
  RequireDefined(object);
  if (auto value = PythonAttribute(runtime, object, name)) return *value;
  if (const Dict* dict = object.dict()) {
    if (const Value* found = dict->Find(name)) return *found;
  }
  return NoAttribute(object, name);
}

Value Item(Runtime& runtime, const Value& object, const Value& key) {
  RequireDefined(object);
  if (object.is_string()) runtime.Charge(object);
  if (auto value = PythonItem(object, key)) return *value;
  if (const std::string* name = key.text()) {
    if (auto value = PythonAttribute(runtime, object, *name)) return *value;
    return NoAttribute(object, *name);
  }
  return Value::Missing(fmt::format("{} has no element {}", Described(object), Repr(key)));
}

Value Slice(Runtime& runtime, const Value& object, const Value& begin, const Value& end,
            const Value& step) {
  RequireDefined(object);
  runtime.Charge(object);
  const Sequence* sequence = object.sequence();
  const bool sliceable = object.is_string() || (sequence != nullptr && sequence->indexable());
  if (!sliceable) Raise("'{}' object is not subscriptable by a slice", TypeName(object));
  for (const Value* bound : {&begin, &end, &step}) {
    if (!bound->is_none() && !bound->is_integral()) {
      Raise("slice indices must be integers or None, got '{}'", TypeName(*bound));
    }
  }
  const Int stride = step.integer().value_or(1);
  if (stride == 0) Raise("slice step cannot be zero");
  if (const std::string* text = object.text()) {
    const std::u32string code_points = Decode(*text);
    std::u32string out;
    for (const size_t i :
         SlicePositions(code_points.size(), begin.integer(), end.integer(), stride)) {
      out += code_points[i];
    }
    return object.is_markup() ? Value::Markup(Encode(out)) : Value(Encode(out));
  }
  std::vector<Value> items;
  for (const size_t i :
       SlicePositions(sequence->items.size(), begin.integer(), end.integer(), stride)) {
    items.push_back(sequence->items[i]);
  }
  return MakeSequence(
      sequence->kind == SequenceKind::kGroup ? SequenceKind::kTuple : sequence->kind,
      std::move(items));
}

}  // namespace sophia::io::jinja
