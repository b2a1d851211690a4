#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace sophia {

// A fault of the user's input, a file or a device. what() reads "[where] message", where the
// message says what was expected and what came.
class Error : public std::runtime_error {
 public:
  Error(std::string_view where, std::string_view message)
      : std::runtime_error(fmt::format("[{}] {}", where, message)),
        where_(where),
        message_(message) {}

  const std::string& where() const { return where_; }
  // what() without its place, for callers that name it themselves.
  const std::string& message() const { return message_; }

 private:
  std::string where_;
  std::string message_;
};

// Throws Error with a formatted message.
template <typename... Args>
[[noreturn]] void Fail(std::string_view where, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(where, fmt::format(format, std::forward<Args>(args)...));
}

// A bug in this library: a broken invariant, never a fault of the input.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              std::string_view message);

}  // namespace sophia

// Throws InternalError unless `condition` holds; further arguments are a fmt format and its values.
#define SOPHIA_CHECK(condition, ...)                                                        \
  do {                                                                                      \
    if (!(condition))                                                                       \
      ::sophia::CheckFailed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
  } while (false)
