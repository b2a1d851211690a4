#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "sophia/base/error.h"

namespace sophia::io {

// Makes broken input out of valid input: the same seed gives the same mutants on every machine.
class Mutator {
 public:
  // `tokens` are fragments of the format (keywords, quotes, magic numbers) worth inserting.
  explicit Mutator(uint64_t seed, std::vector<std::string> tokens = {})
      : random_(seed), tokens_(std::move(tokens)) {}

  // `valid` after one to four edits.
  std::string Mutate(std::string valid) {
    for (uint64_t edits = 1 + Below(4); edits > 0; --edits) Edit(valid);
    return valid;
  }

  // A number in [0, limit); 0 when limit is 0.
  uint64_t Below(uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }

 private:
  // Edits prefer the first kilobyte, where binary formats keep their headers.
  size_t Place(const std::string& text) {
    return Below(Below(2) == 0 ? std::min<size_t>(text.size(), 1024) : text.size());
  }

  void Edit(std::string& text) {
    const size_t at = Place(text);
    const size_t rest = text.size() - at;
    switch (Below(8)) {
      case 0:
        if (rest > 0) text[at] = static_cast<char>(text[at] ^ (1 << Below(8)));
        break;
      case 1:
        if (rest > 0) text[at] = static_cast<char>(Below(256));
        break;
      case 2:
        text.resize(Below(text.size() + 1));
        break;
      case 3:
        text.erase(at, Below(std::min<size_t>(rest, 64) + 1));
        break;
      case 4:
        text.insert(at, text.substr(Place(text), Below(64)));
        break;
      case 5:
        if (!tokens_.empty()) text.insert(at, tokens_[Below(tokens_.size())]);
        break;
      default:
        OverwriteInteger(text, at);
    }
  }

  // Puts a little-endian integer of 1 to 8 bytes, usually an extreme one, over the bytes at `at`.
  void OverwriteInteger(std::string& text, size_t at) {
    const uint64_t extremes[] = {0,           1,         0x7f,       0xff,
                                 0x7fff,      0xffff,    0x7fffffff, 0x80000000u,
                                 UINT32_MAX,  INT64_MAX, UINT64_MAX, uint64_t{1} << 63,
                                 text.size(), random_()};
    const uint64_t value = extremes[Below(std::size(extremes))];
    const size_t width = size_t{1} << Below(4);
    for (size_t i = 0; i < width && at + i < text.size(); ++i) {
      text[at + i] = static_cast<char>(value >> (8 * i));
    }
  }

  std::mt19937_64 random_;
  std::vector<std::string> tokens_;
};

struct FuzzCounts {
  int accepted = 0;  // mutants that parsed
  int rejected = 0;  // mutants that gave an Error
};

// Calls `parse` on `iterations` mutants of the `valid` inputs, taken in turn. Returning and
// throwing Error are right; any other exception fails the test and stops.
inline FuzzCounts FuzzParser(const std::vector<std::string>& valid, int iterations, Mutator mutator,
                             const std::function<void(const std::string&)>& parse) {
  FuzzCounts counts;
  for (int i = 0; i < iterations; ++i) {
    const std::string mutant = mutator.Mutate(valid[static_cast<size_t>(i) % valid.size()]);
    try {
      parse(mutant);
      ++counts.accepted;
    } catch (const Error&) {
      ++counts.rejected;
    } catch (const std::exception& error) {
      ADD_FAILURE() << "mutant " << i << " (" << mutant.size()
                    << " bytes): expected sophia::Error or success, got: " << error.what() << "\n"
                    << testing::PrintToString(mutant.substr(0, 2000));
      return counts;
    }
  }
  return counts;
}

}  // namespace sophia::io
