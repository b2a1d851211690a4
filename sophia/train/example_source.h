#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sophia/train/examples.h"

namespace sophia::train {

// What packing has to know of an example.
struct ExampleSize {
  int32_t tokens = 0;
  int32_t trained = 0;
};

ExampleSize SizeOf(const Example& example);

// Where a loader takes examples from; another thread may ask, too.
class ExampleSource {
 public:
  virtual ~ExampleSource() = default;

  // Rows; those without a trained token have no example.
  virtual size_t size() const = 0;
  // How many of them each of the data gives, one behind the other.
  virtual std::vector<size_t> parts() const = 0;
  // The examples of some rows, in their order.
  virtual std::vector<Example> Get(std::span<const size_t> rows) const = 0;
  // Of all rows, if they are known without reading them; then every row has an example.
  virtual std::optional<std::vector<ExampleSize>> sizes() const = 0;
};

}  // namespace sophia::train
