#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sophia/io/jinja/runtime.h"

namespace sophia::io::jinja {

// The items of a `for` and the `loop` variable. A condition is asked only when an item is needed.
class Loop : public Object, public std::enable_shared_from_this<Loop> {
 public:
  using Condition = std::function<bool(const Value&)>;

  // `condition` may be empty.
  Loop(const Value& source, Condition condition);

  std::string TypeName() const override { return "LoopContext"; }
  std::optional<Value> Attribute(Runtime& runtime, std::string_view name) override;
  std::optional<Int> Length() override;
  void Release() override;

  // Moves to the next item, or nullptr at the end.
  const Value* Advance();

 private:
  const Value* Peek();
  Value Cycle(const Arguments& arguments) const;
  bool Changed(const Arguments& arguments);

  std::vector<Value> items_;
  size_t next_ = 0;
  Condition condition_;
  std::optional<Value> ahead_;
  std::optional<Value> before_;
  std::optional<Value> current_;
  std::optional<std::vector<Value>> last_changed_;
  std::optional<Int> length_;
  Int index0_ = -1;
};

}  // namespace sophia::io::jinja
