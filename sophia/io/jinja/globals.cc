#include <memory>
#include <string>
#include <vector>

#include "sophia/base/strings.h"
#include "sophia/io/jinja/builtins.h"
#include "sophia/io/jinja/ops.h"
#include "sophia/io/jinja/print.h"

namespace sophia::io::jinja {
namespace {

constexpr Int kMaxRange = 100000;

// Gives its items in turn, again and again.
class Cycler : public Object, public std::enable_shared_from_this<Cycler> {
 public:
  explicit Cycler(std::vector<Value> items) : Object(Around(items)), items_(std::move(items)) {}

  std::string TypeName() const override { return "Cycler"; }

  std::optional<Value> Attribute(Runtime&, std::string_view name) override {
    if (name == "current") return items_[position_];
    if (name != "next" && name != "reset") return std::nullopt;
    const bool reset = name == "reset";
    const auto call = [self = shared_from_this(), reset](Runtime&, const Arguments&) {
      Value current = reset ? Value() : self->items_[self->position_];
      self->position_ = reset ? 0 : (self->position_ + 1) % self->items_.size();
      return current;
    };
    return Value(std::make_shared<Callback>(extent(), call));
  }

 private:
  std::vector<Value> items_;
  size_t position_ = 0;
};

// Nothing when first called, its separator afterwards.
class Joiner : public Object {
 public:
  explicit Joiner(Value separator)
      : Object(Around({separator})), separator_(std::move(separator)) {}

  std::string TypeName() const override { return "Joiner"; }
  bool callable() const override { return true; }
  Value Call(Runtime&, const Arguments&) override {
    return std::exchange(used_, true) ? separator_ : Value("");
  }

 private:
  Value separator_;
  bool used_ = false;
};

Value MakeRange(Runtime& runtime, const Arguments& arguments) {
  const auto& given = arguments.positional;
  if (given.empty() || given.size() > 3 || !arguments.named.empty()) {
    Raise("range: expected 1 to 3 positional arguments, got {}", given.size());
  }
  const Bound bound("range", {"start", "stop", "step"}, 0, arguments);
  for (const Value& value : given) {
    RequireDefined(value);
    if (!value.is_integral()) {
      Raise("'{}' object cannot be interpreted as an integer", TypeName(value));
    }
  }
  const Int begin = given.size() == 1 ? 0 : bound.Integer(0, 0);
  const Int end = bound.Integer(given.size() == 1 ? 0 : 1, 0);
  const Int step = bound.Integer(2, 1);
  if (step == 0) Raise("range() arg 3 must not be zero");
  std::vector<Value> items;
  for (Int i = begin; step > 0 ? i < end : i > end; i += step) {
    if (static_cast<Int>(items.size()) >= kMaxRange) {
      Raise("Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).",
            IntRepr(kMaxRange));
    }
    items.emplace_back(i);
  }
  Value range = MakeSequence(SequenceKind::kRange, std::move(items));
  runtime.Charge(range);
  return range;
}

// The entries of Python's dict(*args, **kwargs).
Dict CollectEntries(Runtime& runtime, std::string_view callee, const Arguments& arguments) {
  runtime.Charge(arguments);
  if (arguments.positional.size() > 1) {
    Raise("{}: expected at most 1 positional argument, got {}", callee,
          arguments.positional.size());
  }
  Dict dict;
  for (const Value& source : arguments.positional) {
    if (source.dict() != nullptr) {
      dict = *source.dict();
      continue;
    }
    for (const Value& pair : Items(source)) {
      const std::vector<Value> parts = Items(pair);
      if (parts.size() != 2) Raise("{}: expected pairs, got {} items", callee, parts.size());
      dict.Set(parts[0], parts[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) dict.Set(name, value);
  return dict;
}

Value MakeNamespace(Runtime& runtime, const Arguments& arguments) {
  const auto created = std::make_shared<Namespace>();
  for (const auto& [name, value] : CollectEntries(runtime, "namespace", arguments).entries) {
    created->Set(name, value);
  }
  runtime.Track(created);
  return Value(created);
}

Value MakeCycler(Runtime& runtime, const Arguments& arguments) {
  runtime.Charge(arguments);
  if (arguments.positional.empty() || !arguments.named.empty()) {
    Raise("at least one item has to be provided");
  }
  return Value(std::make_shared<Cycler>(arguments.positional));
}

Value MakeJoiner(Runtime&, const Arguments& arguments) {
  const Bound bound("joiner", {"sep"}, 0, arguments);
  return Value(std::make_shared<Joiner>(bound.Has(0) ? bound[0] : Value(", ")));
}

Value RaiseException(Runtime&, const Arguments& arguments) {
  const Bound bound("raise_exception", {"message"}, 1, arguments);
  throw Fault(Str(bound[0]));
}

// As Python's datetime.strftime for the rendering's clock; microseconds are zero.
Value StrftimeNow(Runtime& runtime, const Arguments& arguments) {
  const Bound bound("strftime_now", {"format"}, 1, arguments);
  const std::string format = ReplaceAll(bound.Text(0, ""), "%f", "000000");
  if (format.empty()) return "";
  if (format.size() > 1024) Raise("expected a date format of at most 1024 bytes");
  std::vector<char> buffer(1 << 16);
  const size_t size = std::strftime(buffer.data(), buffer.size(), format.c_str(), &runtime.now());
  return std::string(buffer.data(), size);
}

}  // namespace

std::optional<Value> Namespace::Attribute(Runtime&, std::string_view name) {
  const Value* found = members_.Find(name);
  return found == nullptr ? std::nullopt : std::optional<Value>(*found);
}

Value CallValue(Runtime& runtime, const Value& callee, const Arguments& arguments) {
  RequireDefined(callee);
  const Runtime::Level level(runtime);
  if (callee.object() == nullptr || !callee.object()->callable()) {
    Raise("'{}' object is not callable", TypeName(callee));
  }
  return callee.object()->Call(runtime, arguments);
}

std::vector<std::pair<std::string, Value>> Globals() {
  const auto function = [](Value (*call)(Runtime&, const Arguments&)) {
    return Value(std::make_shared<Callback>(Extent{}, call));
  };
  const auto make_dict = [](Runtime& runtime, const Arguments& arguments) {
    return MakeDict(CollectEntries(runtime, "dict", arguments));
  };
  return {
      {"range", function(MakeRange)},          {"dict", function(make_dict)},
      {"namespace", function(MakeNamespace)},  {"cycler", function(MakeCycler)},
      {"joiner", function(MakeJoiner)},        {"raise_exception", function(RaiseException)},
      {"strftime_now", function(StrftimeNow)},
  };
}

}  // namespace sophia::io::jinja
