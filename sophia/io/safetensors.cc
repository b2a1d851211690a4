#include "sophia/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "sophia/base/error.h"

namespace sophia::io {
namespace {

namespace fs = std::filesystem;
// Sorted objects: headers may hold a hundred thousand names, which ordered_json looks up one by
// one.
using SortedJson = nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::string_view kMetadataKey = "__metadata__";

// Parses JSON and refuses an object that has a key twice.
SortedJson ParseUniqueKeys(std::string_view text, const std::string& where) {
  std::vector<std::set<std::string>> open_objects;
  const auto check = [&](int, SortedJson::parse_event_t event, SortedJson& parsed) {
    if (event == SortedJson::parse_event_t::object_start) {
      open_objects.emplace_back();
    } else if (event == SortedJson::parse_event_t::object_end) {
      open_objects.pop_back();
    } else if (event == SortedJson::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!open_objects.back().insert(key).second) {
        Fail(where, "expected each key once, got '{}' twice", key);
      }
    }
    return true;
  };
  try {
    return SortedJson::parse(text, check);
  } catch (const SortedJson::exception& error) {
    Fail(where, "expected valid JSON, got: {}", error.what());
  }
}

std::string Excerpt(const SortedJson& json) {
  return json.dump(-1, ' ', false, SortedJson::error_handler_t::replace).substr(0, 80);
}

struct Entry {
  std::string name;
  Storage storage;
  Dims dims;
  uint64_t begin;
  uint64_t end;
};

struct Type {
  Storage storage;
  int bits;  // of an element
};

// Types of the format that have no counterpart in DType.
constexpr std::pair<std::string_view, int> kUnreadable[] = {
    {"F4", 4},          {"F6_E2M3", 6},     {"F6_E3M2", 6}, {"F8_E8M0", 8},
    {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"C64", 64},
};

Type ParseType(const SortedJson& json, const std::string& where) {
  const std::string name = json.is_string() ? json.get<std::string>() : "";
  if (const std::optional<DType> dtype = DTypeFromSafetensors(name)) {
    const int bits = Info(*dtype).bits;
    return {{Info(*dtype).safetensors, *dtype, 1, bits / 8}, bits};
  }
  for (const auto& [known, bits] : kUnreadable) {
    if (name == known) return {{.name = known, .dtype = DType::kU8, .readable = false}, bits};
  }
  Fail(
      where,
      "expected a dtype of BOOL, U8 … U64, I8 … I64, F4, F6_*, F8_*, BF16, F16, F32, F64, C64, got "
      "{}",
      Excerpt(json));
}

Dims ParseShape(const SortedJson& json, const std::string& where) {
  if (!json.is_array()) Fail(where, "expected 'shape' to be a list, got {}", Excerpt(json));
  Dims dims;
  for (const SortedJson& dim : json) {
    if (!dim.is_number_unsigned() || !std::in_range<int64_t>(dim.get<uint64_t>())) {
      Fail(where, "expected dimensions from 0 to 2^63 - 1, got {}", Excerpt(dim));
    }
    dims.push_back(dim.get<int64_t>());
  }
  return dims;
}

const SortedJson& Member(const SortedJson& object, const char* key, const std::string& where) {
  const auto it = object.find(key);
  if (it == object.end()) Fail(where, "expected key '{}', got none", key);
  return *it;
}

// Bytes of elements without padding between them, which must fill whole bytes.
uint64_t BytesOf(const Dims& dims, int bits, const std::string& where) {
  if (bits % 8 == 0) {
    return static_cast<uint64_t>(StoredBytes({.block_bytes = bits / 8}, dims, where));
  }
  const int64_t elements = StoredBytes({}, dims, where);
  int64_t all_bits = 0;
  if (__builtin_mul_overflow(elements, bits, &all_bits) || all_bits % 8 != 0) {
    Fail(where, "expected whole bytes of elements of {} bits, got shape {}", bits, ToString(dims));
  }
  return static_cast<uint64_t>(all_bits / 8);
}

Entry ParseEntry(const std::string& name, const SortedJson& json, const std::string& file) {
  const std::string where = file + ": " + name;
  if (!json.is_object()) Fail(where, "expected an object, got {}", Excerpt(json));
  const auto [storage, bits] = ParseType(Member(json, "dtype", where), where);
  const SortedJson& offsets = Member(json, "data_offsets", where);
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned() || offsets[0].get<uint64_t>() > offsets[1].get<uint64_t>()) {
    Fail(where, "expected 'data_offsets' [begin, end] with begin <= end, got {}", Excerpt(offsets));
  }
  Entry entry{name, storage, ParseShape(Member(json, "shape", where), where),
              offsets[0].get<uint64_t>(), offsets[1].get<uint64_t>()};
  const uint64_t expected = BytesOf(entry.dims, bits, where);
  if (entry.end - entry.begin != expected) {
    Fail(where, "expected {} bytes for {} {}, got {}", expected, storage.name, ToString(entry.dims),
         entry.end - entry.begin);
  }
  return entry;
}

StringMap ParseMetadata(const SortedJson& json, const std::string& file) {
  const std::string where = fmt::format("{}: {}", file, kMetadataKey);
  if (!json.is_object()) Fail(where, "expected an object, got {}", Excerpt(json));
  StringMap map;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) {
      Fail(where, "expected '{}' to be a string, got {}", key, Excerpt(value));
    }
    map[key] = value.get<std::string>();
  }
  return map;
}

// The header's text, without its length.
std::string_view HeaderText(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() < sizeof(uint64_t)) {
    Fail(where, "expected a safetensors file of at least 8 bytes, got {}", bytes.size());
  }
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  const uint64_t left = bytes.size() - sizeof(length);
  if (length > kMaxHeaderBytes || length > left) {
    Fail(where, "expected a safetensors header of at most {} bytes, got length {}",
         std::min(left, kMaxHeaderBytes), length);
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof(length), length);
  if (!text.starts_with('{')) {
    Fail(where, "expected a safetensors header that starts with '{{', got {}",
         text.empty() ? "an empty one" : fmt::format("byte 0x{:02x}", uint8_t(text[0])));
  }
  return text;
}

// Sorts the entries by place and checks that they fill the data without holes or overlaps.
void CheckPlaces(std::vector<Entry>& entries, uint64_t data_bytes, const std::string& where) {
  std::ranges::sort(
      entries, {}, [](const Entry& entry) { return std::tie(entry.begin, entry.end, entry.name); });
  uint64_t due = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != due) {
      Fail(where + ": " + entry.name, "expected data at offset {} ({}), got {}", due,
           entry.begin > due ? "no holes" : "no overlaps", entry.begin);
    }
    due = entry.end;
  }
  if (due != data_bytes) {
    Fail(where, "expected {} bytes of tensor data, got {}", due, data_bytes);
  }
}

}  // namespace

SafetensorsFile::SafetensorsFile(const fs::path& path) : TensorSource(path) {
  const fs::path single = path / "model.safetensors";
  const fs::path index = path / "model.safetensors.index.json";
  if (!fs::is_directory(path)) {
    OpenShard(path, nullptr);
  } else if (fs::exists(single)) {
    OpenShard(single, nullptr);
  } else if (fs::exists(index)) {
    OpenIndex(index);
  } else {
    Fail(path.string(), "expected model.safetensors or model.safetensors.index.json, got neither");
  }
}

void SafetensorsFile::OpenShard(const fs::path& path, const std::vector<std::string>* wanted) {
  const MappedFile& file = Keep(MappedFile(path));
  const std::string where = path.string();
  const std::string_view text = HeaderText(file.bytes(), where);
  const SortedJson header = ParseUniqueKeys(text, where);
  std::vector<Entry> entries;
  for (const auto& [name, json] : header.items()) {
    if (name == kMetadataKey) {
      metadata_.merge(ParseMetadata(json, where));
    } else {
      entries.push_back(ParseEntry(name, json, where));
    }
  }
  const auto data = file.bytes().subspan(sizeof(uint64_t) + text.size());
  CheckPlaces(entries, data.size(), where);
  std::unordered_set<std::string_view> missing;
  if (wanted != nullptr) missing.insert(wanted->begin(), wanted->end());
  for (Entry& entry : entries) {
    if (wanted != nullptr && missing.erase(entry.name) == 0) continue;
    Add(std::move(entry.name), std::move(entry.dims), entry.storage, file,
        data.subspan(entry.begin, entry.end - entry.begin));
  }
  if (!missing.empty()) {
    Fail(where, "expected tensor '{}', which the index places here, got none", *missing.begin());
  }
}

void SafetensorsFile::OpenIndex(const fs::path& index) {
  const std::string where = index.string();
  const SortedJson json = ParseUniqueKeys(ReadFile(index), where);
  const auto map = json.find("weight_map");
  if (!json.is_object() || map == json.end() || !map->is_object()) {
    Fail(where, "expected an object 'weight_map' of tensor names to files, got none");
  }
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string())
      Fail(where, "expected a file name for '{}', got {}", name, Excerpt(shard));
    const auto file = shard.get<std::string>();
    if (file.empty() || file == ".." || fs::path(file).filename() != file) {
      Fail(where, "expected a plain file name for '{}', got '{}'", name, file);
    }
    shards[file].push_back(name);
  }
  for (const auto& [file, names] : shards) OpenShard(index.parent_path() / file, &names);
}

}  // namespace sophia::io
