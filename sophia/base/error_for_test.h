#pragma once

#include <string>

#include "sophia/base/error.h"

namespace sophia {

// what() of the Error that `action` throws, or "no error".
template <typename Action>
std::string MessageOf(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace sophia
