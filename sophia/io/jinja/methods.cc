#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>
#include <vector>

#include "sophia/io/jinja/builtins.h"
#include "sophia/io/jinja/format.h"
#include "sophia/io/jinja/ops.h"
#include "sophia/io/jinja/print.h"
#include "sophia/io/jinja/text.h"

namespace sophia::io::jinja {
namespace {

const std::string& SelfText(const Value& self) { return *self.text(); }

std::optional<std::string> Characters(const Bound& bound) {
  if (bound[0].is_none()) return std::nullopt;
  return bound.Text(0, "");
}

template <bool kLeft, bool kRight>
Value StripMethod(Runtime&, const Value& self, const Bound& bound) {
  return Strip(SelfText(self), Characters(bound), kLeft, kRight);
}

int64_t Limit(const Bound& bound, size_t i) {
  const Int limit = bound.Integer(i, -1);
  return limit < 0 ? -1 : static_cast<int64_t>(std::min(limit, Int{kMaxText}));
}

template <bool kFromRight>
Value SplitMethod(Runtime&, const Value& self, const Bound& bound) {
  const auto separator = Characters(bound);
  if (separator && separator->empty()) Raise("empty separator");
  const std::vector<std::string> parts =
      separator ? SplitOn(SelfText(self), *separator, Limit(bound, 1), kFromRight)
                : SplitSpaces(SelfText(self), Limit(bound, 1), kFromRight);
  return MakeList({parts.begin(), parts.end()});
}

template <bool kFromRight>
Value PartitionMethod(Runtime&, const Value& self, const Bound& bound) {
  const std::string separator = bound.Text(0, "");
  if (separator.empty()) Raise("empty separator");
  const std::vector<std::string> parts = SplitOn(SelfText(self), separator, 1, kFromRight);
  if (parts.size() == 2) return MakeTuple({parts[0], separator, parts[1]});
  if (kFromRight) return MakeTuple({"", "", parts[0]});
  return MakeTuple({parts[0], "", ""});
}

// The part of the text between the optional bounds, as `find(x, start, end)` takes them, and where
// it starts.
std::pair<std::u32string, size_t> Window(const Value& self, const Bound& bound) {
  const std::u32string text = Decode(SelfText(self));
  const auto size = static_cast<Int>(text.size());
  const auto clamp = [&](Int value) {
    return std::clamp(value < 0 ? value + size : value, Int{0}, size);
  };
  const Int begin = clamp(bound.Integer(1, 0));
  const Int end = clamp(bound.Integer(2, size));
  if (begin >= end) return {U"", static_cast<size_t>(begin)};
  return {text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)),
          static_cast<size_t>(begin)};
}

template <bool kPrefix>
Value AffixMethod(Runtime&, const Value& self, const Bound& bound) {
  const std::string text = Encode(Window(self, bound).first);
  std::vector<Value> affixes = {bound[0]};
  if (const Sequence* tuple = bound[0].sequence()) affixes = tuple->items;
  return std::any_of(affixes.begin(), affixes.end(), [&](const Value& affix) {
    RequireDefined(affix);
    if (!affix.is_string()) {
      Raise("{} first arg must be str or a tuple of str, not {}",
            kPrefix ? "startswith" : "endswith", TypeName(affix));
    }
    return kPrefix ? text.starts_with(*affix.text()) : text.ends_with(*affix.text());
  });
}

template <bool kFromRight, bool kMustFind>
Value FindMethod(Runtime&, const Value& self, const Bound& bound) {
  const auto [text, begin] = Window(self, bound);
  const std::u32string wanted = Decode(bound.Text(0, ""));
  const size_t found = kFromRight ? text.rfind(wanted) : text.find(wanted);
  if (found != std::u32string::npos) return begin + found;
  if (kMustFind) Raise("substring not found");
  return -1;
}

Value CountMethod(Runtime&, const Value& self, const Bound& bound) {
  const std::u32string text = Window(self, bound).first;
  const std::u32string wanted = Decode(bound.Text(0, ""));
  if (wanted.empty()) return text.size() + 1;
  size_t count = 0;
  for (size_t at = text.find(wanted); at != std::u32string::npos;
       at = text.find(wanted, at + wanted.size())) {
    ++count;
  }
  return count;
}

Value ReplaceMethod(Runtime& runtime, const Value& self, const Bound& bound) {
  return ApplyFilter(runtime, "replace", SelfText(self),
                     {.positional = {bound.Text(0, ""), bound.Text(1, ""), bound.Integer(2, -1)}});
}

Value JoinMethod(Runtime& runtime, const Value& self, const Bound& bound) {
  const std::vector<Value> items = Items(bound[0]);
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string()) {
      Raise("sequence item {}: expected str instance, {} found", i, TypeName(items[i]));
    }
  }
  return ApplyFilter(runtime, "join", MakeList(items), {.positional = {self}});
}

template <int kSide>  // -1 pads left, 0 both, 1 right
Value JustifyMethod(Runtime& runtime, const Value& self, const Bound& bound) {
  const std::u32string fill = Decode(bound.Text(1, " "));
  if (fill.size() != 1) Raise("The fill character must be exactly one character long");
  const Int width = bound.Integer(0, 0);
  const Int missing = width - static_cast<Int>(CodePointCount(SelfText(self)));
  if (missing <= 0) return self;
  if (missing > Int{kMaxText}) Raise("expected a width of at most {}", kMaxText);
  runtime.Charge(static_cast<size_t>(missing) / 16);
  const Int left = kSide < 0 ? missing : kSide > 0 ? 0 : missing / 2 + (missing & width & 1);
  return Encode(std::u32string(static_cast<size_t>(left), fill[0])) + SelfText(self) +
         Encode(std::u32string(static_cast<size_t>(missing - left), fill[0]));
}

template <bool kPrefix>
Value RemoveAffixMethod(Runtime&, const Value& self, const Bound& bound) {
  const std::string& text = SelfText(self);
  const std::string affix = bound.Text(0, "");
  if (kPrefix ? !text.starts_with(affix) : !text.ends_with(affix)) return text;
  return kPrefix ? text.substr(affix.size()) : text.substr(0, text.size() - affix.size());
}

Value SplitLinesMethod(Runtime&, const Value& self, const Bound& bound) {
  const std::vector<std::string> lines = SplitLines(SelfText(self), bound.Flag(0, false));
  return MakeList({lines.begin(), lines.end()});
}

template <bool (*kHolds)(char32_t)>
Value AllMethod(Runtime&, const Value& self, const Bound&) {
  const std::u32string text = Decode(SelfText(self));
  return !text.empty() && std::all_of(text.begin(), text.end(), kHolds);
}

bool IsAlphanumeric(char32_t c) { return IsAlpha(c) || IsDigit(c); }

Value FormatMethod(Runtime& runtime, const Value& self, const Bound& bound) {
  return BraceFormat(runtime, SelfText(self), bound.arguments());
}

Value GetMethod(Runtime&, const Value& self, const Bound& bound) {
  const Value* found = self.dict()->Find(bound[0]);
  return found != nullptr ? *found : bound[1];
}

template <SequenceKind kKind>
Value ViewMethod(Runtime&, const Value& self, const Bound&) {
  std::vector<Value> items;
  for (const auto& [key, value] : self.dict()->entries) {
    items.push_back(kKind == SequenceKind::kKeys     ? key
                    : kKind == SequenceKind::kValues ? value
                                                     : MakeTuple({key, value}));
  }
  return MakeSequence(kKind, std::move(items));
}

Value SelfMethod(Runtime&, const Value& self, const Bound&) { return self; }

Value ItemCountMethod(Runtime&, const Value& self, const Bound& bound) {
  const auto& items = self.sequence()->items;
  return static_cast<Int>(std::count_if(items.begin(), items.end(),
                                        [&](const Value& item) { return Equal(item, bound[0]); }));
}

Value ItemIndexMethod(Runtime&, const Value& self, const Bound& bound) {
  const auto& items = self.sequence()->items;
  for (size_t i = 0; i < items.size(); ++i) {
    if (Equal(items[i], bound[0])) return i;
  }
  Raise("{} is not in list", Repr(bound[0]));
}

using Table = std::unordered_map<std::string_view, Builtin>;

Table MakeTable(const std::vector<Builtin>& methods) {
  Table table;
  for (const Builtin& method : methods) table.emplace(method.name, method);
  return table;
}

const Table& TextMethods() {
  static const Table kTable = MakeTable({
      {"capitalize",
       {},
       0,
       [](Runtime&, const Value& s, const Bound&) -> Value { return Capitalize(SelfText(s)); }},
      {"center", {"width", "fill"}, 1, JustifyMethod<0>},
      {"count", {"sub", "start", "end"}, 1, CountMethod},
      {"endswith", {"suffix", "start", "end"}, 1, AffixMethod<false>},
      {"find", {"sub", "start", "end"}, 1, FindMethod<false, false>},
      {"format", {"*"}, 0, FormatMethod},
      {"index", {"sub", "start", "end"}, 1, FindMethod<false, true>},
      {"isalnum", {}, 0, AllMethod<IsAlphanumeric>},
      {"isalpha", {}, 0, AllMethod<IsAlpha>},
      {"isdecimal", {}, 0, AllMethod<IsDigit>},
      {"isdigit", {}, 0, AllMethod<IsDigit>},
      {"isnumeric", {}, 0, AllMethod<IsDigit>},
      {"islower",
       {},
       0,
       [](Runtime&, const Value& s, const Bound&) -> Value { return IsLower(SelfText(s)); }},
      {"isspace", {}, 0, AllMethod<IsSpace>},
      {"isupper",
       {},
       0,
       [](Runtime&, const Value& s, const Bound&) -> Value { return IsUpper(SelfText(s)); }},
      {"join", {"items"}, 1, JoinMethod},
      {"ljust", {"width", "fill"}, 1, JustifyMethod<1>},
      {"lower",
       {},
       0,
       [](Runtime&, const Value& s, const Bound&) -> Value { return Lower(SelfText(s)); }},
      {"lstrip", {"chars"}, 0, StripMethod<true, false>},
      {"partition", {"sep"}, 1, PartitionMethod<false>},
      {"removeprefix", {"prefix"}, 1, RemoveAffixMethod<true>},
      {"removesuffix", {"suffix"}, 1, RemoveAffixMethod<false>},
      {"replace", {"old", "new", "count"}, 2, ReplaceMethod},
      {"rfind", {"sub", "start", "end"}, 1, FindMethod<true, false>},
      {"rindex", {"sub", "start", "end"}, 1, FindMethod<true, true>},
      {"rjust", {"width", "fill"}, 1, JustifyMethod<-1>},
      {"rpartition", {"sep"}, 1, PartitionMethod<true>},
      {"rsplit", {"sep", "maxsplit"}, 0, SplitMethod<true>},
      {"rstrip", {"chars"}, 0, StripMethod<false, true>},
      {"split", {"sep", "maxsplit"}, 0, SplitMethod<false>},
      {"splitlines", {"keepends"}, 0, SplitLinesMethod},
      {"startswith", {"prefix", "start", "end"}, 1, AffixMethod<true>},
      {"strip", {"chars"}, 0, StripMethod<true, true>},
      {"title",
       {},
       0,
       [](Runtime&, const Value& s, const Bound&) -> Value { return Title(SelfText(s)); }},
      {"upper",
       {},
       0,
       [](Runtime&, const Value& s, const Bound&) -> Value { return Upper(SelfText(s)); }},
  });
  return kTable;
}

const Table& DictMethods() {
  static const Table kTable = MakeTable({
      {"copy", {}, 0, SelfMethod},
      {"get", {"key", "default"}, 1, GetMethod},
      {"items", {}, 0, ViewMethod<SequenceKind::kItems>},
      {"keys", {}, 0, ViewMethod<SequenceKind::kKeys>},
      {"values", {}, 0, ViewMethod<SequenceKind::kValues>},
  });
  return kTable;
}

const Table& ListMethods() {
  static const Table kTable = MakeTable({
      {"copy", {}, 0, SelfMethod},
      {"count", {"value"}, 1, ItemCountMethod},
      {"index", {"value"}, 1, ItemIndexMethod},
  });
  return kTable;
}

const Table& TupleMethods() {
  static const Table kTable = MakeTable({
      {"count", {"value"}, 1, ItemCountMethod},
      {"index", {"value"}, 1, ItemIndexMethod},
  });
  return kTable;
}

class BoundMethod : public Object {
 public:
  BoundMethod(const Builtin& builtin, const Value& self)
      : Object(Around({self})), builtin_(builtin), self_(self) {}

  std::string TypeName() const override { return "builtin_function_or_method"; }
  bool callable() const override { return true; }
  Value Call(Runtime& runtime, const Arguments& arguments) override {
    return Invoke(runtime, builtin_, self_, arguments);
  }

 private:
  const Builtin& builtin_;
  Value self_;
};

bool ChangesObject(const Value& object, std::string_view name) {
  static constexpr std::array<std::string_view, 8> kList = {"append", "clear", "pop",    "reverse",
                                                            "insert", "sort",  "extend", "remove"};
  static constexpr std::array<std::string_view, 5> kDict = {"clear", "pop", "popitem", "setdefault",
                                                            "update"};
  if (object.dict() != nullptr) return std::find(kDict.begin(), kDict.end(), name) != kDict.end();
  const Sequence* sequence = object.sequence();
  return sequence != nullptr && sequence->kind == SequenceKind::kList &&
         std::find(kList.begin(), kList.end(), name) != kList.end();
}

const Table* MethodsOf(const Value& object) {
  if (object.is_string()) return &TextMethods();
  if (object.dict() != nullptr) return &DictMethods();
  const Sequence* sequence = object.sequence();
  if (sequence == nullptr) return nullptr;
  if (sequence->kind == SequenceKind::kList) return &ListMethods();
  return sequence->indexable() ? &TupleMethods() : nullptr;
}

}  // namespace

std::optional<Value> Method(const Value& object, std::string_view name) {
  if (ChangesObject(object, name)) {
    return Value::Missing(
        fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, TypeName(object)));
  }
  const Table* methods = MethodsOf(object);
  if (methods == nullptr) return std::nullopt;
  const auto found = methods->find(name);
  if (found == methods->end()) return std::nullopt;
  return Value(std::make_shared<BoundMethod>(found->second, object));
}

}  // namespace sophia::io::jinja
