#include "sophia/io/jinja/loop.h"

#include <algorithm>

#include "sophia/io/jinja/builtins.h"

namespace sophia::io::jinja {

Loop::Loop(const Value& source, Condition condition)
    : Object(Extent{.depth = ExtentOf(source).depth}),
      items_(Items(source)),
      condition_(std::move(condition)) {}

const Value* Loop::Peek() {
  while (!ahead_ && next_ < items_.size()) {
    const Value& item = items_[next_++];
    if (!condition_ || condition_(item)) ahead_ = item;
  }
  return ahead_ ? &*ahead_ : nullptr;
}

const Value* Loop::Advance() {
  if (Peek() == nullptr) return nullptr;
  before_ = std::move(current_);
  current_ = std::move(ahead_);
  ahead_.reset();
  ++index0_;
  return &*current_;
}

std::optional<Int> Loop::Length() {
  if (length_) return length_;
  if (condition_) {
    std::vector<Value> rest;
    while (next_ < items_.size()) {
      const Value item = items_[next_++];
      if (condition_(item)) rest.push_back(item);
    }
    items_ = std::move(rest);
    next_ = 0;
    condition_ = nullptr;
  }
  length_ = index0_ + 1 + (ahead_ ? 1 : 0) + static_cast<Int>(items_.size() - next_);
  return length_;
}

void Loop::Release() {
  items_.clear();
  next_ = 0;
  condition_ = nullptr;
  ahead_.reset();
  before_.reset();
  current_.reset();
  last_changed_.reset();
}

Value Loop::Cycle(const Arguments& arguments) const {
  const auto& items = arguments.positional;
  if (items.empty()) Raise("no items for cycling given");
  return items[static_cast<size_t>(index0_) % items.size()];
}

bool Loop::Changed(const Arguments& arguments) {
  const auto& now = arguments.positional;
  if (last_changed_ &&
      std::equal(now.begin(), now.end(), last_changed_->begin(), last_changed_->end(), Equal)) {
    return false;
  }
  last_changed_ = now;
  return true;
}

std::optional<Value> Loop::Attribute(Runtime&, std::string_view name) {
  if (name == "index") return index0_ + 1;
  if (name == "index0") return index0_;
  if (name == "first") return index0_ == 0;
  if (name == "last") return Peek() == nullptr;
  if (name == "length") return *Length();
  if (name == "revindex") return *Length() - index0_;
  if (name == "revindex0") return *Length() - index0_ - 1;
  if (name == "depth") return 1;
  if (name == "depth0") return 0;
  if (name == "previtem") {
    return before_ ? *before_ : Value::Missing("there is no previous item");
  }
  if (name == "nextitem") {
    const Value* item = Peek();
    return item != nullptr ? *item : Value::Missing("there is no next item");
  }
  if (name != "cycle" && name != "changed") return std::nullopt;
  const bool cycles = name == "cycle";
  const auto call = [self = shared_from_this(), cycles](Runtime& runtime,
                                                        const Arguments& arguments) -> Value {
    runtime.Charge(arguments);
    if (cycles) return self->Cycle(arguments);
    return self->Changed(arguments);
  };
  return Value(std::make_shared<Callback>(extent(), call));
}

}  // namespace sophia::io::jinja
