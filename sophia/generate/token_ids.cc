#include "sophia/generate/token_ids.h"

#include "sophia/base/error.h"

namespace sophia::generate {

void CheckIds(std::span<const int32_t> ids, int64_t vocab, std::string_view where) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab) {
      Fail(where, "expected token ids from 0 to {}, got {} at place {}", vocab - 1, ids[i], i);
    }
  }
}

}  // namespace sophia::generate
