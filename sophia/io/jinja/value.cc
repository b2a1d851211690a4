#include "sophia/io/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "sophia/io/jinja/print.h"
#include "sophia/io/jinja/text.h"

namespace sophia::io::jinja {
namespace {

Value FromJsonAt(const Json& json, int depth) {
  if (depth > kMaxValueDepth) Raise("expected a context nested at most {} deep", kMaxValueDepth);
  switch (json.type()) {
    case Json::value_t::boolean:
      return json.get<bool>();
    case Json::value_t::number_integer:
      return static_cast<Int>(json.get<int64_t>());
    case Json::value_t::number_unsigned:
      return static_cast<Int>(json.get<uint64_t>());
    case Json::value_t::number_float:
      return json.get<double>();
    case Json::value_t::string:
      return json.get_ref<const std::string&>();
    case Json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const Json& item : json) items.push_back(FromJsonAt(item, depth + 1));
      return MakeList(std::move(items));
    }
    case Json::value_t::object: {
      Dict dict;
      for (const auto& [key, item] : json.items()) dict.Set(key, FromJsonAt(item, depth + 1));
      return MakeDict(std::move(dict));
    }
    default:
      return Value();
  }
}

// Extends the extent of a container by that of a part.
void Grow(Extent& whole, const Extent& part) {
  whole.depth = std::max(whole.depth, part.depth + 1);
  whole.weight += part.weight;
  if (whole.depth > kMaxValueDepth) Raise("expected values nested at most {} deep", kMaxValueDepth);
  if (whole.weight > kMaxValueWeight) {
    Raise("expected values of at most {} parts, got {}", kMaxValueWeight, whole.weight);
  }
}

// Lists equal lists, tuples equal tuples, whatever made them.
SequenceKind ComparisonKind(const Sequence& sequence) {
  return sequence.kind == SequenceKind::kGroup ? SequenceKind::kTuple : sequence.kind;
}

bool SequencesEqual(const Sequence& a, const Sequence& b) {
  if (&a == &b) return true;
  if (ComparisonKind(a) != ComparisonKind(b) || a.kind == SequenceKind::kIterator) return false;
  return std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(), Equal);
}

bool DictsEqual(const Dict& a, const Dict& b) {
  if (&a == &b) return true;
  if (a.entries.size() != b.entries.size()) return false;
  return std::all_of(a.entries.begin(), a.entries.end(), [&](const auto& entry) {
    const Value* other = b.Find(entry.first);
    return other != nullptr && Equal(entry.second, *other);
  });
}

std::string StringKey(std::string_view text) {
  std::string key = "s";
  key += text;
  return key;
}

}  // namespace

std::optional<Int> Value::integer() const {
  if (const bool* value = std::get_if<bool>(&data_)) return *value ? 1 : 0;
  if (const Int* value = std::get_if<Int>(&data_)) return *value;
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (const double* value = std::get_if<double>(&data_)) return *value;
  if (const auto value = integer()) return static_cast<double>(*value);
  return std::nullopt;
}

const Value* Dict::Find(const Value& key) const {
  const auto found = index.find(HashKey(key));
  return found == index.end() ? nullptr : &entries[found->second].second;
}

const Value* Dict::Find(std::string_view key) const {
  const auto found = index.find(StringKey(key));
  return found == index.end() ? nullptr : &entries[found->second].second;
}

void Dict::Set(Value key, Value value) {
  for (const Value* part : {&key, &value}) Grow(extent, ExtentOf(*part));
  const auto [slot, fresh] = index.emplace(HashKey(key), entries.size());
  if (fresh) {
    entries.emplace_back(std::move(key), std::move(value));
  } else {
    entries[slot->second].second = std::move(value);
  }
}

std::optional<Value> Object::Attribute(Runtime&, std::string_view) { return std::nullopt; }

Value Object::Call(Runtime&, const Arguments&) {
  Raise("expected a callable, got an object of type '{}'", TypeName());
}

Extent ExtentOf(const Value& value) {
  if (const std::string* text = value.text()) return {.weight = 1 + text->size() / 16};
  if (const Sequence* sequence = value.sequence()) return sequence->extent;
  if (const Dict* dict = value.dict()) return dict->extent;
  if (const Object* object = value.object()) return object->extent();
  return {};
}

Extent Around(const std::vector<Value>& items) {
  Extent extent{.depth = 1};
  for (const Value& item : items) Grow(extent, ExtentOf(item));
  return extent;
}

Value MakeSequence(SequenceKind kind, std::vector<Value> items) {
  const Extent extent = Around(items);
  return std::make_shared<const Sequence>(Sequence{kind, std::move(items), extent});
}

Value MakeDict(Dict dict) { return std::make_shared<const Dict>(std::move(dict)); }

Value FromJson(const Json& json) { return FromJsonAt(json, 0); }

std::string TypeName(const Value& value) {
  if (value.is_none()) return "NoneType";
  if (value.is_undefined()) return "Undefined";
  if (value.is_bool()) return "bool";
  if (value.is_integral()) return "int";
  if (value.is_float()) return "float";
  if (value.is_string()) return value.is_markup() ? "Markup" : "str";
  if (value.dict() != nullptr) return "dict";
  if (value.object() != nullptr) return value.object()->TypeName();
  switch (value.sequence()->kind) {
    case SequenceKind::kList:
      return "list";
    case SequenceKind::kTuple:
      return "tuple";
    case SequenceKind::kGroup:
      return "_GroupTuple";
    case SequenceKind::kRange:
      return "range";
    case SequenceKind::kKeys:
      return "dict_keys";
    case SequenceKind::kValues:
      return "dict_values";
    case SequenceKind::kItems:
      return "dict_items";
    case SequenceKind::kIterator:
      return "generator";
  }
  return "object";
}

bool Truthy(const Value& value) {
  if (value.is_none() || value.is_undefined()) return false;
  if (const auto number = value.number()) return *number != 0;
  if (const std::string* text = value.text()) return !text->empty();
  const auto length = Length(value);
  return !length || *length > 0;
}

bool Equal(const Value& a, const Value& b) {
  const auto left = a.integer();
  const auto right = b.integer();
  if (left && right) return *left == *right;
  if (a.is_number() && b.is_number()) return *a.number() == *b.number();
  if (a.data().index() != b.data().index()) return false;
  if (a.text() != nullptr) return *a.text() == *b.text();
  if (a.sequence() != nullptr) return SequencesEqual(*a.sequence(), *b.sequence());
  if (a.dict() != nullptr) return DictsEqual(*a.dict(), *b.dict());
  if (a.object() != nullptr) return a.object() == b.object();
  return true;
}

bool Less(const Value& a, const Value& b) {
  RequireDefined(a);
  RequireDefined(b);
  const auto left = a.integer();
  const auto right = b.integer();
  if (left && right) return *left < *right;
  if (a.is_number() && b.is_number()) return *a.number() < *b.number();
  if (a.text() != nullptr && b.text() != nullptr) return *a.text() < *b.text();
  const Sequence* x = a.sequence();
  const Sequence* y = b.sequence();
  if (x != nullptr && y != nullptr && ComparisonKind(*x) == ComparisonKind(*y) &&
      (x->kind == SequenceKind::kList || ComparisonKind(*x) == SequenceKind::kTuple)) {
    for (size_t i = 0; i < std::min(x->items.size(), y->items.size()); ++i) {
      if (!Equal(x->items[i], y->items[i])) return Less(x->items[i], y->items[i]);
    }
    return x->items.size() < y->items.size();
  }
  Raise("'<' not supported between instances of '{}' and '{}'", TypeName(a), TypeName(b));
}

std::optional<size_t> Length(const Value& value) {
  if (value.is_undefined()) return 0;
  if (const std::string* text = value.text()) return CodePointCount(*text);
  if (const Dict* dict = value.dict()) return dict->entries.size();
  if (const Sequence* sequence = value.sequence()) {
    if (sequence->kind == SequenceKind::kIterator) return std::nullopt;
    return sequence->items.size();
  }
  if (Object* object = value.object()) {
    if (const auto length = object->Length()) return static_cast<size_t>(*length);
  }
  return std::nullopt;
}

bool Iterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.sequence() != nullptr ||
         value.dict() != nullptr;
}

std::vector<Value> Items(const Value& value) {
  if (value.is_undefined()) return {};
  std::vector<Value> items;
  if (const std::string* text = value.text()) {
    for (const char32_t c : Decode(*text)) items.emplace_back(Encode({&c, 1}));
    return items;
  }
  if (const Dict* dict = value.dict()) {
    for (const auto& [key, item] : dict->entries) items.push_back(key);
    return items;
  }
  const Sequence* sequence = value.sequence();
  if (sequence == nullptr) Raise("expected an iterable, got '{}'", TypeName(value));
  if (sequence->kind != SequenceKind::kIterator) return sequence->items;
  items.assign(sequence->items.begin() + static_cast<ptrdiff_t>(sequence->consumed),
               sequence->items.end());
  sequence->consumed = sequence->items.size();
  return items;
}

std::string HashKey(const Value& value) {
  if (const std::string* text = value.text()) return StringKey(*text);
  if (value.is_none()) return "N";
  if (value.is_undefined()) return "U";
  if (const auto integer = value.integer()) return 'n' + IntRepr(*integer);
  if (const auto number = value.number()) {
    const bool integral = std::trunc(*number) == *number && std::fabs(*number) < 0x1p100;
    return integral ? 'n' + IntRepr(static_cast<Int>(*number)) : 'f' + FloatRepr(*number);
  }
  if (Object* object = value.object()) return fmt::format("o{}", fmt::ptr(object));
  const Sequence* sequence = value.sequence();
  if (sequence == nullptr || sequence->kind == SequenceKind::kList) {
    Raise("unhashable type: '{}'", TypeName(value));
  }
  if (ComparisonKind(*sequence) != SequenceKind::kTuple) {
    return fmt::format("o{}", fmt::ptr(sequence));
  }
  std::string key = "(";
  for (const Value& item : sequence->items) {
    const std::string part = HashKey(item);
    key += fmt::format("{}:{}", part.size(), part);
  }
  return key;
}

void RequireDefined(const Value& value) {
  if (const Undefined* undefined = value.undefined()) throw Fault(*undefined->message);
}

}  // namespace sophia::io::jinja
