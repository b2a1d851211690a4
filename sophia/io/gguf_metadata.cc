#include <type_traits>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/io/gguf.h"

namespace sophia::io {
namespace {

template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};

template <typename T>
constexpr std::string_view TypeName() {
  if constexpr (std::is_same_v<T, bool>) return "a boolean";
  if constexpr (std::is_same_v<T, int64_t>) return "a 64-bit integer";
  if constexpr (std::is_same_v<T, double>) return "a number";
  if constexpr (std::is_same_v<T, std::string>) return "a string";
  if constexpr (std::is_same_v<T, std::vector<bool>>) return "an array of booleans";
  if constexpr (std::is_same_v<T, std::vector<int64_t>>) return "an array of 64-bit integers";
  if constexpr (std::is_same_v<T, std::vector<double>>) return "an array of numbers";
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return "an array of strings";
}

std::string Describe(const GgufValue& value) {
  if (value.type != GgufType::kArray) return std::string(Name(value.type));
  return fmt::format("array of {}", Name(value.element));
}

// `from` as T, if T can hold it.
template <typename T, typename From>
std::optional<T> Convert(const From& from) {
  if constexpr (std::is_same_v<T, From>) {
    return from;
  } else if constexpr (std::is_same_v<T, int64_t> && std::is_same_v<From, uint64_t>) {
    if (!std::in_range<int64_t>(from)) return std::nullopt;
    return static_cast<int64_t>(from);
  } else if constexpr (std::is_same_v<T, double> &&
                       (std::is_same_v<From, uint64_t> || std::is_same_v<From, int64_t>)) {
    return static_cast<double>(from);
  } else if constexpr (IsVector<T>::value && IsVector<From>::value) {
    T result;
    result.reserve(from.size());
    for (const typename From::value_type& item : from) {
      auto converted = Convert<typename T::value_type>(item);
      if (!converted) return std::nullopt;
      result.push_back(*std::move(converted));
    }
    return result;
  } else {
    return std::nullopt;
  }
}

}  // namespace

void GgufMetadata::Add(std::string key, GgufValue value) {
  if (!index_.emplace(key, entries_.size()).second) {
    Fail(where_, "expected each metadata key once, got '{}' twice", key);
  }
  entries_.push_back({std::move(key), std::move(value)});
}

const GgufValue* GgufMetadata::Find(std::string_view key) const {
  const auto it = index_.find(std::string(key));
  return it == index_.end() ? nullptr : &entries_[it->second].value;
}

template <typename T>
std::optional<T> GgufMetadata::Find(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::nullopt;
  std::optional<T> converted =
      std::visit([](const auto& held) { return Convert<T>(held); }, value->value);
  if (!converted) {
    Fail(where_, "expected '{}' to be {}, got {}", key, TypeName<T>(), Describe(*value));
  }
  return converted;
}

template <typename T>
T GgufMetadata::Require(std::string_view key) const {
  std::optional<T> value = Find<T>(key);
  if (!value) Fail(where_, "expected metadata key '{}' ({}), got none", key, TypeName<T>());
  return *std::move(value);
}

template std::optional<bool> GgufMetadata::Find(std::string_view) const;
template std::optional<int64_t> GgufMetadata::Find(std::string_view) const;
template std::optional<double> GgufMetadata::Find(std::string_view) const;
template std::optional<std::string> GgufMetadata::Find(std::string_view) const;
template std::optional<std::vector<bool>> GgufMetadata::Find(std::string_view) const;
template std::optional<std::vector<int64_t>> GgufMetadata::Find(std::string_view) const;
template std::optional<std::vector<double>> GgufMetadata::Find(std::string_view) const;
template std::optional<std::vector<std::string>> GgufMetadata::Find(std::string_view) const;
template bool GgufMetadata::Require(std::string_view) const;
template int64_t GgufMetadata::Require(std::string_view) const;
template double GgufMetadata::Require(std::string_view) const;
template std::string GgufMetadata::Require(std::string_view) const;
template std::vector<bool> GgufMetadata::Require(std::string_view) const;
template std::vector<int64_t> GgufMetadata::Require(std::string_view) const;
template std::vector<double> GgufMetadata::Require(std::string_view) const;
template std::vector<std::string> GgufMetadata::Require(std::string_view) const;

}  // namespace sophia::io
