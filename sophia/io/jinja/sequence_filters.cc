#include <algorithm>
#include <string>
#include <unordered_set>
#include <vector>

#include "sophia/io/jinja/builtins.h"
#include "sophia/io/jinja/format.h"
#include "sophia/io/jinja/ops.h"
#include "sophia/io/jinja/print.h"
#include "sophia/io/jinja/text.h"

namespace sophia::io::jinja {
namespace {

// The value to sort or compare by; strings without regard to case unless `case_sensitive`.
Value Folded(const Value& value, bool case_sensitive) {
  return value.is_string() && !case_sensitive ? Value(Lower(*value.text())) : value;
}

Value SortKey(Runtime& runtime, const Value& item, const Value& path, bool case_sensitive) {
  return Folded(path.is_none() ? item : ByPath(runtime, item, path), case_sensitive);
}

// Stable, as Python's sorted(items, key, reverse).
std::vector<Value> Sorted(Runtime& runtime, std::vector<std::pair<Value, Value>> keyed,
                          bool reverse) {
  const auto less = [&](const auto& a, const auto& b) {
    runtime.Charge(a.first);
    return reverse ? Less(b.first, a.first) : Less(a.first, b.first);
  };
  std::stable_sort(keyed.begin(), keyed.end(), less);
  std::vector<Value> items;
  for (auto& [key, item] : keyed) items.push_back(std::move(item));
  return items;
}

// A key of one or several attributes, "a.b,c".
Value ManyKeys(Runtime& runtime, const Value& item, const Value& path, bool case_sensitive) {
  std::vector<Value> keys;
  if (const std::string* text = path.text()) {
    for (const std::string& part : SplitOn(*text, ",", -1, false)) {
      keys.push_back(SortKey(runtime, item, part, case_sensitive));
    }
  } else {
    keys.push_back(SortKey(runtime, item, path, case_sensitive));
  }
  return MakeList(std::move(keys));
}

Value SortFilter(Runtime& runtime, const Value& self, const Bound& bound) {
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : Items(self)) {
    keyed.emplace_back(ManyKeys(runtime, item, bound[2], bound.Flag(1, false)), item);
  }
  return MakeList(Sorted(runtime, std::move(keyed), bound.Flag(0, false)));
}

Value DictSortFilter(Runtime& runtime, const Value& self, const Bound& bound) {
  const std::string by = bound.Text(1, "key");
  if (by != "key" && by != "value") Raise("You can only sort by either \"key\" or \"value\"");
  RequireDefined(self);
  const Dict* dict = self.dict();
  if (dict == nullptr) Raise("expected a mapping to sort, got '{}'", TypeName(self));
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, value] : dict->entries) {
    keyed.emplace_back(Folded(by == "key" ? key : value, bound.Flag(0, false)),
                       MakeTuple({key, value}));
  }
  return MakeList(Sorted(runtime, std::move(keyed), bound.Flag(2, false)));
}

Value UniqueFilter(Runtime& runtime, const Value& self, const Bound& bound) {
  std::unordered_set<std::string> seen;
  std::vector<Value> items;
  for (const Value& item : Items(self)) {
    const Value key = SortKey(runtime, item, bound[1], bound.Flag(0, false));
    if (seen.insert(HashKey(key)).second) items.push_back(item);
  }
  return MakeIterator(std::move(items));
}

Value Extreme(Runtime& runtime, const Value& self, const Bound& bound, bool largest) {
  const std::vector<Value> items = Items(self);
  if (items.empty()) return Value::Missing("No aggregated item, sequence was empty.");
  size_t best = 0;
  const bool case_sensitive = bound.Flag(0, false);
  Value best_key = SortKey(runtime, items[0], bound[1], case_sensitive);
  for (size_t i = 1; i < items.size(); ++i) {
    Value key = SortKey(runtime, items[i], bound[1], case_sensitive);
    if (largest ? Less(best_key, key) : Less(key, best_key)) {
      best = i;
      best_key = std::move(key);
    }
  }
  return items[best];
}

Value JoinFilter(Runtime& runtime, const Value& self, const Bound& bound) {
  const std::string separator = Str(bound.Has(0) ? bound[0] : Value(""));
  std::string out;
  bool first = true;
  for (const Value& item : Items(self)) {
    if (!first) out += separator;
    first = false;
    out += Str(bound[1].is_none() ? item : ByPath(runtime, item, bound[1]));
    runtime.Charge(1 + separator.size() / 16);
    if (out.size() > kMaxText) Raise("expected a text of at most {} bytes", kMaxText);
  }
  return out;
}

Value FirstFilter(Runtime&, const Value& self, const Bound&) {
  const Sequence* sequence = self.sequence();
  if (sequence != nullptr && sequence->kind == SequenceKind::kIterator &&
      sequence->consumed < sequence->items.size()) {
    return sequence->items[sequence->consumed++];
  }
  const std::vector<Value> items = Items(self);
  return items.empty() ? Value::Missing("No first item, sequence was empty.") : items.front();
}

void RequireReversible(const Value& self) {
  const Sequence* sequence = self.sequence();
  if (sequence != nullptr && sequence->kind == SequenceKind::kIterator) {
    Raise("'{}' object is not reversible", TypeName(self));
  }
}

Value LastFilter(Runtime&, const Value& self, const Bound&) {
  RequireReversible(self);
  const std::vector<Value> items = Items(self);
  return items.empty() ? Value::Missing("No last item, sequence was empty.") : items.back();
}

Value ReverseFilter(Runtime&, const Value& self, const Bound&) {
  if (const std::string* text = self.text()) {
    std::u32string code_points = Decode(*text);
    std::reverse(code_points.begin(), code_points.end());
    return Encode(code_points);
  }
  const Sequence* sequence = self.sequence();
  const bool copies = sequence != nullptr && sequence->kind == SequenceKind::kIterator;
  if (!copies) RequireReversible(self);
  std::vector<Value> items = Items(self);
  std::reverse(items.begin(), items.end());
  return copies ? MakeList(std::move(items)) : MakeIterator(std::move(items));
}

Value ItemsFilter(Runtime&, const Value& self, const Bound&) {
  if (self.is_undefined()) return MakeIterator({});
  if (self.dict() == nullptr) Raise("Can only get item pairs from a mapping.");
  std::vector<Value> items;
  for (const auto& [key, value] : self.dict()->entries) items.push_back(MakeTuple({key, value}));
  return MakeIterator(std::move(items));
}

Value BatchFilter(Runtime& runtime, const Value& self, const Bound& bound) {
  const Int count = bound.Integer(0, 1);
  std::vector<Value> batches;
  std::vector<Value> batch;
  for (const Value& item : Items(self)) {
    if (static_cast<Int>(batch.size()) == count)
      batches.push_back(MakeList(std::exchange(batch, {})));
    batch.push_back(item);
  }
  if (!batch.empty()) {
    while (!bound[1].is_none() && static_cast<Int>(batch.size()) < count) {
      runtime.Charge(1);
      batch.push_back(bound[1]);
    }
    batches.push_back(MakeList(std::move(batch)));
  }
  return MakeIterator(std::move(batches));
}

Value SliceFilter(Runtime& runtime, const Value& self, const Bound& bound) {
  const std::vector<Value> items = Items(self);
  const Int slices = bound.Integer(0, 1);
  if (slices == 0) Raise("integer division or modulo by zero");
  std::vector<Value> out;
  size_t begin = 0;
  for (Int i = 0; i < slices; ++i) {
    runtime.Charge(1);
    const auto length = static_cast<Int>(items.size());
    const bool extra = i < length % slices;
    const size_t end = begin + static_cast<size_t>(length / slices) + (extra ? 1 : 0);
    std::vector<Value> slice(items.begin() + static_cast<ptrdiff_t>(begin),
                             items.begin() + static_cast<ptrdiff_t>(end));
    if (!bound[1].is_none() && !extra) slice.push_back(bound[1]);
    out.push_back(MakeList(std::move(slice)));
    begin = end;
  }
  return MakeIterator(std::move(out));
}

Value GroupByFilter(Runtime& runtime, const Value& self, const Bound& bound) {
  const bool case_sensitive = bound.Flag(2, false);
  const auto key_of = [&](const Value& item) {
    Value key = ByPath(runtime, item, bound[0], bound.Has(1) ? &bound[1] : nullptr);
    return key;
  };
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : Items(self))
    keyed.emplace_back(Folded(key_of(item), case_sensitive), item);
  std::vector<Value> groups;
  std::vector<Value> members;
  const auto close = [&] {
    if (members.empty()) return;
    const Value grouper = key_of(members[0]);
    groups.push_back(
        MakeSequence(SequenceKind::kGroup, {grouper, MakeList(std::exchange(members, {}))}));
  };
  for (const Value& item : Sorted(runtime, std::move(keyed), false)) {
    const auto folded = [&](const Value& value) { return Folded(key_of(value), case_sensitive); };
    if (!members.empty() && !Equal(folded(members[0]), folded(item))) close();
    members.push_back(item);
  }
  close();
  return MakeList(std::move(groups));
}

}  // namespace

std::vector<Builtin> SequenceFilters() {
  return {
      {"batch", {"linecount", "fill_with"}, 1, BatchFilter},
      {"dictsort", {"case_sensitive", "by", "reverse"}, 0, DictSortFilter},
      {"first", {}, 0, FirstFilter},
      {"groupby", {"attribute", "default", "case_sensitive"}, 1, GroupByFilter},
      {"items", {}, 0, ItemsFilter},
      {"join", {"d", "attribute"}, 0, JoinFilter},
      {"last", {}, 0, LastFilter},
      {"list",
       {},
       0,
       [](Runtime&, const Value& self, const Bound&) { return MakeList(Items(self)); }},
      {"max",
       {"case_sensitive", "attribute"},
       0,
       [](Runtime& runtime, const Value& self, const Bound& bound) {
         return Extreme(runtime, self, bound, true);
       }},
      {"min",
       {"case_sensitive", "attribute"},
       0,
       [](Runtime& runtime, const Value& self, const Bound& bound) {
         return Extreme(runtime, self, bound, false);
       }},
      {"reverse", {}, 0, ReverseFilter},
      {"slice", {"slices", "fill_with"}, 1, SliceFilter},
      {"sort", {"reverse", "case_sensitive", "attribute"}, 0, SortFilter},
      {"unique", {"case_sensitive", "attribute"}, 0, UniqueFilter},
  };
}

}  // namespace sophia::io::jinja
