#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "sophia/base/error.h"
#include "sophia/graph/tensor.h"

namespace sophia {

struct OpDef;
struct Region;
struct CheckpointScope;
struct CustomVjpRule;

// What a reverse pass may keep from the forward pass; the rest is computed again.
// Names refer to CheckpointName().
struct Remat {
  enum class Keep : uint8_t { kEverything, kNothing, kNamed };
  Keep keep = Keep::kEverything;
  std::vector<std::string> names = {};
  // Of a scan: kept carries lie in the host's memory between the passes.
  bool offloads_carries = false;
  // Of those carries, the reverse pass fetches the next one while it works on one.
  bool prefetches_carries = false;

  static Remat Everything() { return {}; }
  static Remat Nothing() { return {.keep = Keep::kNothing}; }
  static Remat Named(std::vector<std::string> names) {
    return {.keep = Keep::kNamed, .names = std::move(names)};
  }
};

using AttrValue = std::variant<bool, int64_t, double, std::string, DType, Dims, Remat,
                               std::vector<Shape>, std::vector<std::vector<std::string>>,
                               std::shared_ptr<const std::vector<std::byte>>,
                               std::shared_ptr<const CustomVjpRule>>;

// The static arguments of a node: a short list of named values.
class Attrs {
 public:
  Attrs() = default;
  Attrs(std::initializer_list<std::pair<std::string_view, AttrValue>> values) : values_(values) {}

  template <typename T>
  const T& Get(std::string_view name) const {
    for (const auto& [key, value] : values_) {
      if (key != name) continue;
      SOPHIA_CHECK(std::holds_alternative<T>(value), "attribute {}", name);
      return std::get<T>(value);
    }
    throw InternalError(fmt::format("no attribute '{}'", name));
  }
  void Set(std::string_view name, AttrValue value) { values_.emplace_back(name, std::move(value)); }
  bool Has(std::string_view name) const {
    for (const auto& [key, value] : values_) {
      if (key == name) return true;
    }
    return false;
  }

 private:
  std::vector<std::pair<std::string_view, AttrValue>> values_;
};

// One operation of the traced program. Nodes stand in their region in the order of tracing, so
// every input comes before its user.
struct Node {
  const OpDef* op = nullptr;
  int64_t id = 0;
  std::vector<Tensor> inputs;
  std::vector<Shape> results;
  Attrs attrs;
  std::vector<std::unique_ptr<Region>> regions;
  Region* parent = nullptr;
  const CheckpointScope* checkpoint = nullptr;
  Loc loc;
};

// A list of nodes with parameters and results: the program itself, or the body of a loop or branch.
// Nodes may use values of enclosing regions.
struct Region {
  std::vector<std::unique_ptr<Node>> parameters;  // of op kParameter, one result each
  std::vector<std::unique_ptr<Node>> nodes;
  std::vector<Tensor> results;
  Region* parent = nullptr;
  Node* owner = nullptr;  // the node whose region this is
};

// The nodes traced inside one Checkpoint() call.
struct CheckpointScope {
  Remat remat;
  const CheckpointScope* parent = nullptr;
};

// True when `region` is `ancestor` or lies within it.
bool IsWithin(const Region* region, const Region* ancestor);

// Values of enclosing regions that `region` (nested ones included) uses, in order of first use.
std::vector<Tensor> Captures(const Region& region);

}  // namespace sophia
