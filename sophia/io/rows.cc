#include "sophia/io/rows.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"

namespace sophia::io {
namespace {

constexpr std::string_view kForms =
    "'messages', 'conversations', 'prompt' and 'completion', 'text', 'instruction' and 'output', "
    "'question' and 'answer', 'segments', or 'input_ids' with optional 'labels' and "
    "'attention_mask'";

std::string Keys(const Json& json) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(fmt::format("'{}'", key));
  return keys.empty() ? "none" : Join(keys, ", ");
}

bool Has(const Json& json, const char* key) { return json.contains(key) && !json[key].is_null(); }

std::string Text(const Json& json, const char* key, std::string_view where) {
  return Require<std::string>(json, key, where);
}

Json Message(std::string_view role, std::string content) {
  return {{"role", role}, {"content", std::move(content)}};
}

// The texts of a message's content in parts, one behind the other, as templates for parts print
// them.
std::string TextOfParts(const Json& parts, std::string_view at, std::string_view where) {
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Json& part = parts[i];
    const Json type = part.is_object() ? part.value("type", Json()) : Json();
    const bool is_text = type == "text" && part.contains("text") && part["text"].is_string();
    if (!is_text) {
      Fail(where, R"(expected {}.content[{}] to be {{"type": "text", "text": "…"}}, got {})", at, i,
           type.is_string() && type != "text" ? fmt::format("a part of type {}", Dump(type))
                                              : Dump(part).substr(0, 80));
    }
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

// `messages` with texts in place of parts.
Json CheckedMessages(Json messages, std::string_view key, std::string_view where) {
  if (!messages.is_array()) {
    Fail(where, "expected '{}' to be a list of messages, got {}", key, messages.type_name());
  }
  if (messages.empty()) Fail(where, "expected '{}' to hold at least one message, got none", key);
  for (size_t i = 0; i < messages.size(); ++i) {
    Json& message = messages[i];
    const std::string at = fmt::format("{}[{}]", key, i);
    if (!message.is_object()) {
      Fail(where, "expected {} to be an object, got {}", at, message.type_name());
    }
    if (!message.contains("role") || !message["role"].is_string()) {
      Fail(where, "expected {}.role to be a string, got {}", at,
           message.contains("role") ? message["role"].type_name() : "nothing");
    }
    if (!Has(message, "content")) {
      if (Has(message, "tool_calls")) continue;
      Fail(where, "expected {}.content or {}.tool_calls, got neither", at, at);
    }
    Json& content = message["content"];
    if (content.is_array()) content = TextOfParts(content, at, where);
    if (!content.is_string() && !content.is_object()) {
      Fail(where, "expected {}.content to be text or parts, got {}", at, content.type_name());
    }
  }
  return messages;
}

// `tools` as a list; data sets also store it as the JSON text of one.
Json Tools(const Json& json, std::string_view where) {
  if (!Has(json, "tools")) return nullptr;
  Json tools = json["tools"];
  if (tools.is_string()) {
    const auto& text = tools.get_ref<const std::string&>();
    if (Trim(text).empty()) return nullptr;
    tools = ParseJson(text, fmt::format("{}, 'tools'", where));
  }
  if (!tools.is_array()) Fail(where, "expected 'tools' to be a list, got {}", tools.type_name());
  return tools.empty() ? Json(nullptr) : tools;
}

ChatRow MessagesRow(const Json& json, std::string_view where) {
  return {CheckedMessages(json["messages"], "messages", where), Tools(json, where)};
}

std::string_view ShareGptRole(const std::string& from, size_t index, std::string_view where) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kRoles = {{
      {"human", "user"},
      {"user", "user"},
      {"gpt", "assistant"},
      {"chatgpt", "assistant"},
      {"model", "assistant"},
      {"assistant", "assistant"},
      {"system", "system"},
      {"tool", "tool"},
      {"observation", "tool"},
  }};
  for (const auto& [name, role] : kRoles) {
    if (from == name) return role;
  }
  Fail(where, "expected conversations[{}].from to be 'human', 'gpt', 'system' or 'tool', got '{}'",
       index, from);
}

ChatRow ShareGptRow(const Json& json, std::string_view where) {
  const Json& turns = json["conversations"];
  if (!turns.is_array() || turns.empty()) {
    Fail(where, "expected 'conversations' to be a list of turns, got {}",
         turns.is_array() ? "an empty one" : turns.type_name());
  }
  Json messages = Json::array();
  if (Has(json, "system")) messages.push_back(Message("system", Text(json, "system", where)));
  if (turns[0].is_object() && turns[0].contains("role")) {
    for (Json& turn : CheckedMessages(turns, "conversations", where)) {
      messages.push_back(std::move(turn));
    }
    return {std::move(messages), Tools(json, where)};
  }
  for (size_t i = 0; i < turns.size(); ++i) {
    if (!turns[i].is_object()) {
      Fail(where, "expected conversations[{}] to be an object, got {}", i, turns[i].type_name());
    }
    const std::string at = fmt::format("{}, conversations[{}]", where, i);
    const std::string from = Text(turns[i], "from", at);
    messages.push_back(Message(ShareGptRole(from, i, where), Text(turns[i], "value", at)));
  }
  return {std::move(messages), Tools(json, where)};
}

// All but the answer. The instruction and its input become one user turn; `history` holds earlier
// [question, answer]s.
ChatRow AlpacaPrompt(const Json& json, std::string_view where) {
  Json messages = Json::array();
  const std::string system = FindOr<std::string>(json, "system", "", where);
  if (!system.empty()) messages.push_back(Message("system", system));
  if (Has(json, "history")) {
    const Json& history = json["history"];
    const bool valid =
        history.is_array() && std::all_of(history.begin(), history.end(), [](const Json& pair) {
          return pair.is_array() && pair.size() == 2 && pair[0].is_string() && pair[1].is_string();
        });
    if (!valid) Fail(where, "expected 'history' to be a list of pairs of strings");
    for (const Json& pair : history) {
      messages.push_back(Message("user", pair[0].get<std::string>()));
      messages.push_back(Message("assistant", pair[1].get<std::string>()));
    }
  }
  std::string question = Text(json, "instruction", where);
  const std::string input = FindOr<std::string>(json, "input", "", where);
  if (!input.empty()) question += '\n' + input;
  messages.push_back(Message("user", std::move(question)));
  return {std::move(messages), nullptr};
}

ChatRow AlpacaRow(const Json& json, std::string_view where) {
  ChatRow row = AlpacaPrompt(json, where);
  row.messages.push_back(Message("assistant", Text(json, "output", where)));
  return row;
}

PromptCompletionRow PromptRow(const Json& json, std::string_view where) {
  if (Has(json, "label") && json["label"].is_boolean()) {
    Fail(where,
         "expected a row to imitate, got one of KTO ('prompt', 'completion', 'label'): it needs "
         "KTO's objective, which there is not; to imitate what was liked, keep the rows with a "
         "true 'label' and leave the key out");
  }
  const Json& prompt = json["prompt"];
  const Json& completion = json["completion"];
  if (prompt.is_string() && completion.is_string()) return {prompt, completion, nullptr};
  if (!prompt.is_array() || !completion.is_array()) {
    Fail(where,
         "expected 'prompt' and 'completion' to be two strings or two lists of messages, got {} "
         "and {}",
         prompt.type_name(), completion.type_name());
  }
  return {CheckedMessages(prompt, "prompt", where),
          CheckedMessages(completion, "completion", where), Tools(json, where)};
}

[[noreturn]] void RefusePreference(std::string_view where) {
  Fail(where,
       "expected a row to imitate, got a preference ('chosen', 'rejected'): it needs an objective "
       "for preferences such as DPO's, which there is not; to imitate what was chosen, give it as "
       "'messages', or as 'prompt' and 'completion'");
}

SegmentsRow TextSegments(const Json& json, std::string_view where) {
  const Json& list = json["segments"];
  if (!list.is_array() || list.empty()) {
    Fail(where, "expected 'segments' to be a list of texts with labels, got {}",
         list.is_array() ? "an empty one" : list.type_name());
  }
  SegmentsRow row;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string at = fmt::format("{}, segments[{}]", where, i);
    if (!list[i].is_object()) Fail(at, "expected an object, got {}", list[i].type_name());
    row.segments.push_back({Text(list[i], "text", at), Require<bool>(list[i], "label", at)});
  }
  return row;
}

std::vector<int64_t> Ids(const Json& json, const char* key, size_t length, std::string_view where) {
  const auto ids = Find<std::vector<int64_t>>(json, key, where);
  if (!ids) return {};
  if (ids->size() != length) {
    Fail(where, "expected '{}' to be as long as 'input_ids' ({}), got {}", key, length,
         ids->size());
  }
  return *ids;
}

TokensRow TokenRow(const Json& json, std::string_view where) {
  TokensRow row;
  row.input_ids = Require<std::vector<int64_t>>(json, "input_ids", where);
  if (row.input_ids.empty()) Fail(where, "expected 'input_ids' to hold at least one id, got none");
  row.labels = Ids(json, "labels", row.input_ids.size(), where);
  row.attention_mask = Ids(json, "attention_mask", row.input_ids.size(), where);
  for (const int64_t id : row.input_ids) {
    if (id < 0) Fail(where, "expected 'input_ids' of at least 0, got {}", id);
  }
  for (const int64_t label : row.labels) {
    if (label < 0 && label != -100) {
      Fail(where, "expected 'labels' of at least 0, or -100 to ignore, got {}", label);
    }
  }
  for (const int64_t mask : row.attention_mask) {
    if (mask != 0 && mask != 1) Fail(where, "expected 'attention_mask' of 0 or 1, got {}", mask);
  }
  return row;
}

}  // namespace

Row ParseRow(const Json& json, std::string_view where) {
  if (!json.is_object()) Fail(where, "expected a row to be an object, got {}", json.type_name());
  if (Has(json, "messages")) return MessagesRow(json, where);
  if (Has(json, "conversations")) return ShareGptRow(json, where);
  if (Has(json, "chosen") && Has(json, "rejected")) RefusePreference(where);
  if (Has(json, "prompt") && Has(json, "completion")) return PromptRow(json, where);
  if (Has(json, "segments")) return TextSegments(json, where);
  if (Has(json, "input_ids")) return TokenRow(json, where);
  if (Has(json, "text")) return TextRow{Text(json, "text", where)};
  if (Has(json, "instruction") && Has(json, "output")) return AlpacaRow(json, where);
  if (Has(json, "question") && Has(json, "answer")) {
    return ChatRow{Json::array({Message("user", Text(json, "question", where)),
                                Message("assistant", Text(json, "answer", where))}),
                   nullptr};
  }
  for (const auto& [key, value] : json.items()) {
    if (value.is_null() && kForms.find("'" + key + "'") != std::string_view::npos) {
      Fail(where, "expected a value of '{}', got null", key);
    }
  }
  Fail(where, "expected a row with the keys {}; got {}", kForms, Keys(json));
}

Row ParsePromptRow(const Json& json, std::string_view where) {
  if (!json.is_object()) return ParseRow(json, where);
  const bool is_other = Has(json, "messages") || Has(json, "conversations") ||
                        Has(json, "chosen") || Has(json, "segments") || Has(json, "input_ids") ||
                        Has(json, "text");
  if (is_other) return ParseRow(json, where);
  if (Has(json, "prompt") && !Has(json, "completion")) {
    const Json& prompt = json["prompt"];
    return PromptCompletionRow{
        prompt.is_string() ? prompt : CheckedMessages(prompt, "prompt", where), nullptr,
        Tools(json, where)};
  }
  if (Has(json, "instruction") && !Has(json, "output")) return AlpacaPrompt(json, where);
  if (Has(json, "question") && !Has(json, "answer")) {
    return ChatRow{Json::array({Message("user", Text(json, "question", where))}), nullptr};
  }
  return ParseRow(json, where);
}

}  // namespace sophia::io
