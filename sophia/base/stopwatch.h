#pragma once

#include <chrono>

namespace sophia {

// Seconds of the clock that have passed since `start`.
inline double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace sophia
