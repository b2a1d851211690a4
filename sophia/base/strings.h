#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace sophia {

std::vector<std::string> Split(std::string_view text, char separator);
std::string Join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view Trim(std::string_view text);
std::string ReplaceAll(std::string text, std::string_view from, std::string_view to);

// The candidate closest to `word` by edit distance, if it is close enough to be a typing error.
std::optional<std::string> Nearest(std::string_view word,
                                   const std::vector<std::string>& candidates);

// " (did you mean 'x'?)" for the nearest candidate, or nothing.
std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates);

// RFC 4648, with padding.
std::string Base64(std::string_view bytes);

// The number that `text` is from its first character to its last; nullopt for other texts and for
// numbers beyond T.
template <typename T>
std::optional<T> NumberFromText(std::string_view text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

// 1234567 -> "1.23 MB"; decimal units.
std::string HumanBytes(double bytes);
std::string HumanBytes(int64_t bytes);
// 1234567 -> "1.23 M", for the name of what is counted behind it.
std::string HumanCount(double count);

}  // namespace sophia
