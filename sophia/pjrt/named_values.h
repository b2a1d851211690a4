#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

struct PJRT_NamedValue;

namespace sophia::pjrt {

using NamedValue = std::variant<bool, int64_t, float, std::string, std::vector<int64_t>>;

// Client and topology options ({"cpu_device_count", int64_t{2}}) and attributes that a plugin
// reports.
using NamedValues = std::map<std::string, NamedValue>;

// Views into `values`, which must outlive the result.
std::vector<PJRT_NamedValue> ToPjrt(const NamedValues& values);
NamedValues FromPjrt(const PJRT_NamedValue* values, size_t count);

// "true", "42", "[1, 2]" or the text itself.
std::string ToString(const NamedValue& value);

}  // namespace sophia::pjrt
