#pragma once

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "sophia/base/json.h"

namespace sophia::io::jinja {

// A failure while a template is evaluated; the evaluator adds the line and turns it into Error.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <typename... Args>
[[noreturn]] void Raise(fmt::format_string<Args...> format, Args&&... args) {
  throw Fault(fmt::format(format, std::forward<Args>(args)...));
}

// Wide enough for every JSON integer; arithmetic that leaves it is a Fault.
using Int = __int128;

class Value;
class Object;
struct Sequence;
struct Dict;

struct Undefined {
  std::shared_ptr<const std::string> message;  // what to say when it is used
};

// Text is UTF-8. `markup` marks what `safe` and `escape` return, as markupsafe.Markup does.
struct Text {
  std::string utf8;
  bool markup = false;
};

// A Python object as templates see it. Containers are immutable and shared.
class Value {
 public:
  using TextPtr = std::shared_ptr<const Text>;
  using SequencePtr = std::shared_ptr<const Sequence>;
  using DictPtr = std::shared_ptr<const Dict>;
  using ObjectPtr = std::shared_ptr<Object>;

  Value() = default;  // None
  Value(bool value) : data_(value) {}
  Value(Int value) : data_(value) {}
  Value(int value) : data_(static_cast<Int>(value)) {}
  Value(size_t value) : data_(static_cast<Int>(value)) {}
  Value(double value) : data_(value) {}
  Value(std::string value) : data_(std::make_shared<const Text>(Text{std::move(value)})) {}
  Value(std::string_view value) : Value(std::string(value)) {}
  Value(const char* value) : Value(std::string(value)) {}
  Value(TextPtr value) : data_(std::move(value)) {}
  Value(SequencePtr value) : data_(std::move(value)) {}
  Value(DictPtr value) : data_(std::move(value)) {}
  Value(ObjectPtr value) : data_(std::move(value)) {}

  static Value Missing(std::string message) {
    Value value;
    value.data_ = Undefined{std::make_shared<const std::string>(std::move(message))};
    return value;
  }
  static Value Markup(std::string text) {
    return std::make_shared<const Text>(Text{std::move(text), true});
  }

  bool is_none() const { return std::holds_alternative<std::monostate>(data_); }
  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_string() const { return std::holds_alternative<TextPtr>(data_); }
  bool is_markup() const { return is_string() && std::get<TextPtr>(data_)->markup; }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_integral() const { return is_bool() || std::holds_alternative<Int>(data_); }
  bool is_number() const { return is_integral() || is_float(); }

  // Null pointer or nullopt when the value has another type.
  const std::string* text() const {
    const Text* text = Pointee<TextPtr>();
    return text == nullptr ? nullptr : &text->utf8;
  }
  const Sequence* sequence() const { return Pointee<SequencePtr>(); }
  const Dict* dict() const { return Pointee<DictPtr>(); }
  Object* object() const { return Pointee<ObjectPtr>(); }
  const Undefined* undefined() const { return std::get_if<Undefined>(&data_); }
  std::optional<Int> integer() const;    // bool counts as 0 or 1
  std::optional<double> number() const;  // any int or float

  const auto& data() const { return data_; }

 private:
  template <typename Pointer>
  auto Pointee() const -> decltype(std::declval<Pointer>().get()) {
    const Pointer* pointer = std::get_if<Pointer>(&data_);
    return pointer == nullptr ? nullptr : pointer->get();
  }

  std::variant<std::monostate, Undefined, bool, Int, double, TextPtr, SequencePtr, DictPtr,
               ObjectPtr>
      data_;
};

// How deep a value nests and how much work it is to walk it: one for each node and each 16 bytes of
// text, counting shared parts as often as they appear.
struct Extent {
  int depth = 0;
  size_t weight = 1;
};

// Values beyond these are a Fault, which bounds every walk over a value.
constexpr int kMaxValueDepth = 250;
constexpr size_t kMaxValueWeight = size_t{1} << 22;
constexpr size_t kMaxText = 16 * kMaxValueWeight;

enum class SequenceKind { kList, kTuple, kGroup, kRange, kKeys, kValues, kItems, kIterator };

// kGroup is a (grouper, list) pair of `groupby`; kIterator yields each item once.
struct Sequence {
  SequenceKind kind;
  std::vector<Value> items;
  Extent extent;
  mutable size_t consumed = 0;

  bool indexable() const {
    return kind == SequenceKind::kList || kind == SequenceKind::kTuple ||
           kind == SequenceKind::kGroup || kind == SequenceKind::kRange;
  }
};

// Insertion-ordered; keys compare as in Python (1 == 1.0 == true).
struct Dict {
  std::vector<std::pair<Value, Value>> entries;
  std::unordered_map<std::string, size_t> index;
  Extent extent{.depth = 1};

  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view key) const;
  void Set(Value key, Value value);
};

class Runtime;

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Functions, macros, loops, namespaces and the like.
class Object {
 public:
  explicit Object(Extent extent) : extent_(extent) {}
  virtual ~Object() = default;

  virtual std::string TypeName() const = 0;
  virtual std::string Repr() const { return fmt::format("<{}>", TypeName()); }
  virtual std::optional<Value> Attribute(Runtime& runtime, std::string_view name);
  virtual bool callable() const { return false; }
  virtual Value Call(Runtime& runtime, const Arguments& arguments);
  virtual std::optional<Int> Length() { return std::nullopt; }
  // Lets go of the values it refers to; called once rendering is over, to break cycles.
  virtual void Release() {}
  Extent extent() const { return extent_; }

 private:
  Extent extent_;
};

Value MakeSequence(SequenceKind kind, std::vector<Value> items);
Value MakeDict(Dict dict);
inline Value MakeList(std::vector<Value> items) {
  return MakeSequence(SequenceKind::kList, std::move(items));
}
inline Value MakeTuple(std::vector<Value> items) {
  return MakeSequence(SequenceKind::kTuple, std::move(items));
}
inline Value MakeIterator(std::vector<Value> items) {
  return MakeSequence(SequenceKind::kIterator, std::move(items));
}

Value FromJson(const Json& json);

// Python's type(value).__name__.
std::string TypeName(const Value& value);

Extent ExtentOf(const Value& value);
// The extent of a value that holds `items`; Fault when it is beyond the limits.
Extent Around(const std::vector<Value>& items);
bool Truthy(const Value& value);
bool Equal(const Value& a, const Value& b);
// Python's `a < b`; Fault for types without an order.
bool Less(const Value& a, const Value& b);
// len(value), or nullopt for types without a length.
std::optional<size_t> Length(const Value& value);
bool Iterable(const Value& value);
// list(value): exhausts an iterator; characters of a string, keys of a dict. Fault otherwise.
std::vector<Value> Items(const Value& value);
// A text that is equal for equal hashable values; Fault for values without a hash.
std::string HashKey(const Value& value);
// Fault with the message of an undefined value, if `value` is one.
void RequireDefined(const Value& value);

}  // namespace sophia::io::jinja
