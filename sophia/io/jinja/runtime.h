#pragma once

#include <cstddef>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/io/jinja/value.h"

namespace sophia::io::jinja {

// What one rendering has left to spend, and its clock.
class Runtime {
 public:
  Runtime(size_t work, const std::tm& now) : work_(work), now_(now) {}
  ~Runtime() {
    for (const auto& object : tracked_) object->Release();
  }
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Takes `units` of work; Fault when too little is left.
  void Charge(size_t units) {
    if (units > work_) Raise("expected a template that ends within its limit of work");
    work_ -= units;
  }
  void Charge(const Value& value) { Charge(ExtentOf(value).weight); }
  void Charge(const Arguments& arguments) {
    for (const Value& value : arguments.positional) Charge(value);
    for (const auto& [name, value] : arguments.named) Charge(value);
  }

  const std::tm& now() const { return now_; }

  // Releases `object` once rendering is over; for those that templates can make refer to
  // themselves.
  void Track(std::shared_ptr<Object> object) { tracked_.push_back(std::move(object)); }

  // A level of recursion while it lives; Fault when there are too many.
  class Level {
   public:
    explicit Level(Runtime& runtime) : runtime_(runtime) {
      if (runtime_.levels_ >= kMaxLevels)
        Raise("expected at most {} levels of recursion", kMaxLevels);
      ++runtime_.levels_;
    }
    ~Level() { --runtime_.levels_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Runtime& runtime_;
  };

 private:
  static constexpr int kMaxLevels = 700;

  size_t work_;
  std::tm now_;
  int levels_ = 0;
  std::vector<std::shared_ptr<Object>> tracked_;
};

// The arguments of a call in the order of a built-in's parameters.
class Bound {
 public:
  // Fault unless `arguments` fit the parameters, of which the first `required` must be given. With
  // the single parameter "*" everything fits and only arguments() is of use.
  Bound(std::string_view callee, const std::vector<std::string_view>& parameters, size_t required,
        const Arguments& arguments);

  bool Has(size_t i) const { return i < values_.size() && values_[i] != nullptr; }
  const Value& operator[](size_t i) const;  // None when absent
  // Fault when the argument is given and has another type.
  std::string Text(size_t i, std::string_view fallback) const;
  Int Integer(size_t i, Int fallback) const;
  bool Flag(size_t i, bool fallback) const;
  const Arguments& arguments() const { return arguments_; }

 private:
  std::string callee_;
  const Arguments& arguments_;
  std::vector<const Value*> values_;
};

// A filter with its input, a test with its subject, or a method with its object.
struct Builtin {
  std::string_view name;
  std::vector<std::string_view> parameters;
  size_t required;
  Value (*call)(Runtime& runtime, const Value& self, const Bound& bound);
};

Value Invoke(Runtime& runtime, const Builtin& builtin, const Value& self,
             const Arguments& arguments);

}  // namespace sophia::io::jinja
