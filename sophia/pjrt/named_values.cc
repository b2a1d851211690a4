#include "sophia/pjrt/named_values.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <type_traits>

#include "xla/pjrt/c/pjrt_c_api.h"

namespace sophia::pjrt {
namespace {

void SetValue(PJRT_NamedValue& to, const NamedValue& from) {
  to.value_size = 1;
  if (const auto* flag = std::get_if<bool>(&from)) {
    to.type = PJRT_NamedValue_kBool;
    to.bool_value = *flag;
  } else if (const auto* number = std::get_if<int64_t>(&from)) {
    to.type = PJRT_NamedValue_kInt64;
    to.int64_value = *number;
  } else if (const auto* real = std::get_if<float>(&from)) {
    to.type = PJRT_NamedValue_kFloat;
    to.float_value = *real;
  } else if (const auto* text = std::get_if<std::string>(&from)) {
    to.type = PJRT_NamedValue_kString;
    to.string_value = text->data();
    to.value_size = text->size();
  } else {
    const auto& list = std::get<std::vector<int64_t>>(from);
    to.type = PJRT_NamedValue_kInt64List;
    to.int64_array_value = list.data();
    to.value_size = list.size();
  }
}

NamedValue GetValue(const PJRT_NamedValue& value) {
  switch (value.type) {
    case PJRT_NamedValue_kString:
      return std::string(value.string_value, value.value_size);
    case PJRT_NamedValue_kInt64:
      return value.int64_value;
    case PJRT_NamedValue_kInt64List:
      return std::vector<int64_t>(value.int64_array_value,
                                  value.int64_array_value + value.value_size);
    case PJRT_NamedValue_kFloat:
      return value.float_value;
    case PJRT_NamedValue_kBool:
      return value.bool_value;
  }
  return fmt::format("<value of unknown type {}>", static_cast<int>(value.type));
}

}  // namespace

std::vector<PJRT_NamedValue> ToPjrt(const NamedValues& values) {
  std::vector<PJRT_NamedValue> result;
  for (const auto& [name, value] : values) {
    PJRT_NamedValue& entry = result.emplace_back();
    entry.struct_size = PJRT_NamedValue_STRUCT_SIZE;
    entry.name = name.data();
    entry.name_size = name.size();
    SetValue(entry, value);
  }
  return result;
}

NamedValues FromPjrt(const PJRT_NamedValue* values, size_t count) {
  NamedValues result;
  for (size_t i = 0; i < count; ++i) {
    result.insert_or_assign(std::string(values[i].name, values[i].name_size), GetValue(values[i]));
  }
  return result;
}

std::string ToString(const NamedValue& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::vector<int64_t>>) {
          return fmt::format("[{}]", fmt::join(v, ", "));
        } else {
          return fmt::format("{}", v);
        }
      },
      value);
}

}  // namespace sophia::pjrt
