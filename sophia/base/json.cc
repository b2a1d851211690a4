#include "sophia/base/json.h"

#include <yaml-cpp/yaml.h>

#include <cmath>
#include <limits>
#include <vector>

#include "sophia/base/error.h"
#include "sophia/base/file.h"

namespace sophia {
namespace {

template <typename T>
struct JsonType;
template <>
struct JsonType<bool> {
  static constexpr std::string_view kName = "a boolean";
  static bool Is(const Json& json) { return json.is_boolean(); }
};
template <>
struct JsonType<int64_t> {
  static constexpr std::string_view kName = "an integer";
  static bool Is(const Json& json) {
    if (json.is_number_unsigned()) {
      return json.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    }
    return json.is_number_integer();
  }
};
template <>
struct JsonType<double> {
  static constexpr std::string_view kName = "a number";
  static bool Is(const Json& json) { return json.is_number(); }
};
template <>
struct JsonType<std::string> {
  static constexpr std::string_view kName = "a string";
  static bool Is(const Json& json) { return json.is_string(); }
};
template <>
struct JsonType<std::vector<std::string>> {
  static constexpr std::string_view kName = "a list of strings";
  static bool Is(const Json& json) {
    if (!json.is_array()) return false;
    for (const Json& item : json) {
      if (!item.is_string()) return false;
    }
    return true;
  }
};
template <>
struct JsonType<std::vector<int64_t>> {
  static constexpr std::string_view kName = "a list of integers";
  static bool Is(const Json& json) {
    if (!json.is_array()) return false;
    for (const Json& item : json) {
      if (!JsonType<int64_t>::Is(item)) return false;
    }
    return true;
  }
};

// nlohmann_json begins its messages with "[json.exception.parse_error.101] ".
std::string_view WithoutLibraryPrefix(std::string_view message) {
  const size_t end = message.find("] ");
  return message.starts_with("[json.exception.") && end != std::string_view::npos
             ? message.substr(end + 2)
             : message;
}

Json YamlScalar(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  const bool quoted = node.Tag() == "!";
  if (quoted) return text;
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") {
    return nullptr;
  }
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  int64_t integer = 0;
  if (YAML::convert<int64_t>::decode(node, integer)) return integer;
  double number = 0;
  if (YAML::convert<double>::decode(node, number)) return number;
  return text;
}

Json YamlToJson(const YAML::Node& node, std::string_view where) {
  switch (node.Type()) {
    case YAML::NodeType::Undefined:
    case YAML::NodeType::Null:
      return nullptr;
    case YAML::NodeType::Scalar:
      return YamlScalar(node);
    case YAML::NodeType::Sequence: {
      Json list = Json::array();
      for (const YAML::Node& item : node) list.push_back(YamlToJson(item, where));
      return list;
    }
    case YAML::NodeType::Map: {
      Json object = Json::object();
      for (const auto& entry : node) {
        const auto key = entry.first.as<std::string>();
        if (object.contains(key)) Fail(where, "expected each key once, got '{}' twice", key);
        object[key] = YamlToJson(entry.second, where);
      }
      return object;
    }
  }
  return nullptr;
}

}  // namespace

Json ParseJson(std::string_view text, std::string_view where) {
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    Fail(where, "expected valid JSON, got: {}", WithoutLibraryPrefix(error.what()));
  }
}

Json ReadJson(const std::filesystem::path& path) {
  return ParseJson(ReadFile(path), path.string());
}

Json ParseYaml(const std::string& text, std::string_view where) {
  try {
    return YamlToJson(YAML::Load(text), where);
  } catch (const YAML::Exception& error) {
    Fail(where, "expected valid YAML, got: {}", error.what());
  }
}

template <typename T>
std::optional<T> Find(const Json& object, std::string_view key, std::string_view where) {
  if (!object.is_object()) Fail(where, "expected an object, got {}", object.type_name());
  const auto it = object.find(std::string(key));
  if (it == object.end() || it->is_null()) return std::nullopt;
  if (!JsonType<T>::Is(*it)) {
    Fail(where, "expected '{}' to be {}, got {}", key, JsonType<T>::kName, Dump(*it).substr(0, 80));
  }
  return it->template get<T>();
}

template <typename T>
T Require(const Json& object, std::string_view key, std::string_view where) {
  std::optional<T> value = Find<T>(object, key, where);
  if (!value) Fail(where, "expected key '{}' ({}), got none", key, JsonType<T>::kName);
  return *std::move(value);
}

template std::optional<bool> Find(const Json&, std::string_view, std::string_view);
template std::optional<int64_t> Find(const Json&, std::string_view, std::string_view);
template std::optional<double> Find(const Json&, std::string_view, std::string_view);
template std::optional<std::string> Find(const Json&, std::string_view, std::string_view);
template std::optional<std::vector<std::string>> Find(const Json&, std::string_view,
                                                      std::string_view);
template std::optional<std::vector<int64_t>> Find(const Json&, std::string_view, std::string_view);
template bool Require(const Json&, std::string_view, std::string_view);
template int64_t Require(const Json&, std::string_view, std::string_view);
template double Require(const Json&, std::string_view, std::string_view);
template std::string Require(const Json&, std::string_view, std::string_view);
template std::vector<std::string> Require(const Json&, std::string_view, std::string_view);
template std::vector<int64_t> Require(const Json&, std::string_view, std::string_view);

std::string Dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace sophia
