#pragma once

#include <array>
#include <cstddef>

namespace sophia::kernels {

template <typename T>
using Words = std::array<T, 2>;

template <typename T>
T RotateLeft(const T& x, double bits) {
  return Or(ShiftLeft(x, bits), ShiftRightLogical(x, 32 - bits));
}

// Threefry-2x32 of 20 rounds, in s32 with wrap-around: a key and a counter to random bits. T is a
// kernel's value or a tensor.
template <typename T>
Words<T> Threefry(const Words<T>& key, const Words<T>& counter) {
  constexpr double kParity = 0x1BD11BDA;
  constexpr std::array<double, 8> kRotations = {13, 15, 26, 6, 17, 29, 16, 24};
  const std::array<T, 3> keys = {key[0], key[1], Xor(Xor(key[0], key[1]), kParity)};
  Words<T> x = {counter[0] + keys[0], counter[1] + keys[1]};
  for (size_t group = 0; group < 5; ++group) {
    for (size_t i = 0; i < 4; ++i) {
      x[0] = x[0] + x[1];
      x[1] = Xor(RotateLeft(x[1], kRotations[group % 2 * 4 + i]), x[0]);
    }
    x[0] = x[0] + keys[(group + 1) % 3];
    x[1] = x[1] + keys[(group + 2) % 3] + static_cast<double>(group + 1);
  }
  return x;
}

}  // namespace sophia::kernels
