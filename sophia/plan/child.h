#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "sophia/base/error.h"
#include "sophia/base/json.h"

namespace sophia::plan {

// What a child process did and the most memory that it held.
struct ChildResult {
  Json value;
  int64_t peak_bytes = 0;  // resident
};

// A child that a signal ended.
class ChildDied : public Error {
 public:
  using Error::Error;
};

// Runs `work` in a copy of this process, so that a compiler's crash or memory stays there. An Error
// that `work` throws is thrown here; a child that dies is ChildDied naming `where` and the signal.
ChildResult RunInChild(const std::function<Json()>& work, const std::string& where);

}  // namespace sophia::plan
