#include "sophia/base/error.h"

namespace sophia {

void CheckFailed(const char* file, int line, const char* condition, std::string_view message) {
  throw InternalError(fmt::format("{}:{}: internal error: check '{}' failed{}{}", file, line,
                                  condition, message.empty() ? "" : ": ", message));
}

}  // namespace sophia
