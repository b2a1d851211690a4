#include <algorithm>
#include <cmath>

#include "sophia/io/jinja/print.h"
#include "sophia/io/jinja/text.h"

namespace sophia::io::jinja {
namespace {

std::string Unit(uint32_t unit) { return fmt::format("\\u{:04x}", unit); }

std::string Quoted(std::string_view text, bool ensure_ascii) {
  std::string out = "\"";
  for (const char32_t c : Decode(text)) {
    static constexpr std::string_view kPlain = "\"\\\n\r\t\f\b";
    static constexpr std::string_view kEscapes = "\"\\nrtfb";
    const size_t short_form = c < 0x80 ? kPlain.find(static_cast<char>(c)) : std::string_view::npos;
    if (short_form != std::string_view::npos) {
      out += {'\\', kEscapes[short_form]};
    } else if (c < 0x20 || (ensure_ascii && c >= 0x7F && c < 0x10000)) {
      out += Unit(c);
    } else if (ensure_ascii && c >= 0x10000) {
      out += Unit(0xD800 + ((c - 0x10000) >> 10)) + Unit(0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
      out += Encode({&c, 1});
    }
  }
  return out + '"';
}

std::string JsonFloat(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return FloatRepr(value);
}

std::optional<std::string> Scalar(const Value& value) {
  if (value.is_none()) return "null";
  if (value.is_bool()) return Truthy(value) ? "true" : "false";
  if (value.is_float()) return JsonFloat(*value.number());
  if (const auto integer = value.integer()) return IntRepr(*integer);
  return std::nullopt;
}

class Writer {
 public:
  explicit Writer(const JsonStyle& style) : style_(style) {}

  void Write(const Value& value) {
    if (const auto scalar = Scalar(value)) {
      out_ += *scalar;
    } else if (const std::string* text = value.text()) {
      out_ += Quoted(*text, style_.ensure_ascii);
    } else if (const Dict* dict = value.dict()) {
      WriteDict(*dict);
    } else if (IsList(value)) {
      WriteList(value.sequence()->items);
    } else {
      Raise("Object of type {} is not JSON serializable", TypeName(value));
    }
  }

  std::string Take() { return std::move(out_); }

 private:
  static bool IsList(const Value& value) {
    const Sequence* sequence = value.sequence();
    return sequence != nullptr && sequence->indexable() && sequence->kind != SequenceKind::kRange;
  }

  void NewLine() {
    if (!style_.indent) return;
    out_ += '\n';
    for (int i = 0; i < level_; ++i) out_ += *style_.indent;
    if (out_.size() > 16 * kMaxValueWeight)
      Raise("expected at most {} bytes of JSON", 16 * kMaxValueWeight);
  }

  void WriteList(const std::vector<Value>& items) {
    out_ += '[';
    ++level_;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      NewLine();
      Write(items[i]);
    }
    --level_;
    if (!items.empty()) NewLine();
    out_ += ']';
  }

  void WriteDict(const Dict& dict) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto* a, const auto* b) { return Less(a->first, b->first); });
    }
    out_ += '{';
    ++level_;
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      NewLine();
      out_ += Key(entries[i]->first) + style_.key_separator;
      Write(entries[i]->second);
    }
    --level_;
    if (!entries.empty()) NewLine();
    out_ += '}';
  }

  std::string Key(const Value& key) const {
    if (const std::string* text = key.text()) return Quoted(*text, style_.ensure_ascii);
    if (const auto scalar = Scalar(key)) return Quoted(*scalar, style_.ensure_ascii);
    Raise("keys must be str, int, float, bool or None, not {}", TypeName(key));
  }

  const JsonStyle& style_;
  std::string out_;
  int level_ = 0;
};

}  // namespace

std::string ToJson(const Value& value, const JsonStyle& style) {
  Writer writer(style);
  writer.Write(value);
  return writer.Take();
}

}  // namespace sophia::io::jinja
