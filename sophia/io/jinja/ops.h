#pragma once

#include <optional>
#include <string_view>

#include "sophia/io/jinja/ast.h"
#include "sophia/io/jinja/runtime.h"

namespace sophia::io::jinja {

// Python's operators; Fault for types that do not have them.
Value Negate(const Value& value, bool positive);
Value Apply(Runtime& runtime, BinaryOp op, const Value& left, const Value& right);
bool Compare(CompareOp op, const Value& left, const Value& right);

// jinja2's `object.name` and `object[key]`: undefined when there is no such thing, Fault when
// `object` is undefined itself.
Value Attribute(Runtime& runtime, const Value& object, std::string_view name);
Value Item(Runtime& runtime, const Value& object, const Value& key);
// object[begin:end:step]; None stands for an absent bound.
Value Slice(Runtime& runtime, const Value& object, const Value& begin, const Value& end,
            const Value& step);

}  // namespace sophia::io::jinja
