#pragma once

#include <cstdint>
#include <functional>
#include <optional>

namespace sophia::plan {

struct SearchRange {
  int64_t unit = 1;  // lengths are multiples of it
  int64_t most = 1;  // at least one unit

  int64_t longest() const { return most / unit * unit; }
};

// The largest length whose need is at most `limit`, nullopt if even one unit needs more. `need`
// grows with the length, and asking is dear: where it grows evenly, four calls are enough.
std::optional<int64_t> LongestThatFits(const std::function<int64_t(int64_t length)>& need,
                                       int64_t limit, const SearchRange& range);

// The same where `need` may say too little. `lacks` says how many bytes more than that a length
// takes if it does not fit, and 0 if it does. After a length that does not fit the search goes on
// below a limit that is lower by so much, by 2 % at least and twice as much each time: what it
// finds fits, a somewhat greater length might too. nullopt after six lengths that do not.
std::optional<int64_t> LongestConfirmed(const std::function<int64_t(int64_t length)>& need,
                                        const std::function<int64_t(int64_t length)>& lacks,
                                        int64_t limit, const SearchRange& range);

}  // namespace sophia::plan
