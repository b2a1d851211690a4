#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace sophia {

// Objects keep the order of their keys.
using Json = nlohmann::ordered_json;

// Throw Error naming `where` (and line and column) on malformed text.
Json ParseJson(std::string_view text, std::string_view where);
Json ReadJson(const std::filesystem::path& path);

// YAML 1.2 core scalars become JSON null, bool, integer, float or string; anchors are resolved.
Json ParseYaml(const std::string& text, std::string_view where);

// Typed access to an object's member: nullopt when the key is absent or null, Error naming `where`,
// the key and both types when it has another type. Integers are accepted where a float is asked.
template <typename T>
std::optional<T> Find(const Json& object, std::string_view key, std::string_view where);

// As Find, but an absent key is an Error.
template <typename T>
T Require(const Json& object, std::string_view key, std::string_view where);

template <typename T>
T FindOr(const Json& object, std::string_view key, T fallback, std::string_view where) {
  return Find<T>(object, key, where).value_or(std::move(fallback));
}

// Compact dump that never throws: invalid UTF-8 is replaced.
std::string Dump(const Json& json, int indent = -1);

}  // namespace sophia
