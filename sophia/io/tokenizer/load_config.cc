#include <filesystem>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/json.h"
#include "sophia/io/tokenizer/parts.h"

namespace sophia::io::tok {
namespace {

// A token given as text or as an object with its "content".
std::optional<std::string> FindToken(const Json& object, std::string_view key,
                                     std::string_view where) {
  const auto it = object.find(std::string(key));
  if (it != object.end() && it->is_object()) return Find<std::string>(*it, "content", where);
  return Find<std::string>(object, key, where);
}

// The file as an object; an empty one when it is missing.
Json ReadObject(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return Json::object();
  Json json = ReadJson(path);
  if (!json.is_object()) Fail(path.string(), "expected an object, got {}", json.type_name());
  return json;
}

// A template, or a list of named ones of which "default" counts.
std::optional<std::string> FindTemplate(const Json& config, std::string_view where) {
  const auto it = config.find("chat_template");
  if (it == config.end() || !it->is_array()) {
    return Find<std::string>(config, "chat_template", where);
  }
  for (const Json& entry : *it) {
    if (Require<std::string>(entry, "name", where) == "default") {
      return Require<std::string>(entry, "template", where);
    }
  }
  return std::nullopt;
}

std::vector<int64_t> FindEosIds(const Json& config, std::string_view where) {
  const auto it = config.find("eos_token_id");
  if (it != config.end() && it->is_array()) {
    return Require<std::vector<int64_t>>(config, "eos_token_id", where);
  }
  const auto id = Find<int64_t>(config, "eos_token_id", where);
  return id ? std::vector<int64_t>{*id} : std::vector<int64_t>{};
}

}  // namespace

TokenizerConfig ReadTokenizerConfig(const std::filesystem::path& folder) {
  const std::filesystem::path main = folder / "tokenizer_config.json";
  const std::filesystem::path map = folder / "special_tokens_map.json";
  const std::filesystem::path generation = folder / "generation_config.json";
  const Json config = ReadObject(main);
  const Json specials = ReadObject(map);
  const auto token = [&](std::string_view key) {
    const std::optional<std::string> found = FindToken(config, key, main.string());
    return found ? found : FindToken(specials, key, map.string());
  };
  TokenizerConfig result = {
      .bos_token = token("bos_token"),
      .eos_token = token("eos_token"),
      .pad_token = token("pad_token"),
      .unk_token = token("unk_token"),
      .add_bos_token = Find<bool>(config, "add_bos_token", main.string()),
      .add_eos_token = Find<bool>(config, "add_eos_token", main.string()),
      .eos_token_ids = FindEosIds(ReadObject(generation), generation.string()),
      .chat_template = FindTemplate(config, main.string()),
  };
  const std::filesystem::path file = folder / "chat_template.jinja";
  if (std::filesystem::exists(file)) result.chat_template = ReadFile(file);
  return result;
}

}  // namespace sophia::io::tok
