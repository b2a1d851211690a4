#include "sophia/cli/conversation.h"

#include <fmt/ranges.h>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/cli/options.h"
#include "sophia/io/gguf.h"

namespace sophia::cli {
namespace fs = std::filesystem;

io::Tokenizer OpenTokenizer(const fs::path& model) {
  if (!fs::exists(model)) {
    Fail(model.string(), "expected a GGUF file or a folder with tokenizer.json, got nothing there");
  }
  if (fs::is_directory(model)) return io::Tokenizer::FromFolder(model);
  const io::GgufFile file(model);
  return io::Tokenizer::FromGguf(io::ReadGgufTokenizer(file.metadata()), model.string());
}

io::ChatRow ReadMessages(const fs::path& path) {
  Json json = ReadJson(path);
  if (json.is_array()) json = Json{{"messages", std::move(json)}};
  io::Row row = io::ParseRow(json, path.string());
  if (auto* chat = std::get_if<io::ChatRow>(&row)) return std::move(*chat);
  Fail(path.string(), "expected a list of messages or an object with 'messages', got neither");
}

std::string RenderChat(const train::TextEncoder& encoder, const io::ChatRow& chat, bool prompt) {
  if (!encoder.chat_template) {
    Fail("chat template", "expected a model with a chat template for conversations, got none");
  }
  return encoder.chat_template->Render(chat.messages,
                                       {.tools = chat.tools, .add_generation_prompt = prompt});
}

std::vector<int32_t> PromptIds(const train::TextEncoder& encoder, const io::ChatRow& chat) {
  const std::string text = RenderChat(encoder, chat, true);
  return encoder.tokenizer->Encode(text);
}

std::vector<int32_t> RawIds(const train::TextEncoder& encoder, const std::string& text) {
  std::vector<int32_t> ids = encoder.tokenizer->Encode(text, {.add_special_tokens = true});
  const auto eos = encoder.tokenizer->eos_id();
  if (eos && ids.size() > 1 && ids.back() == *eos) ids.pop_back();
  return ids;
}

std::vector<int32_t> IdsFromText(const std::string& text) {
  std::string_view list = Trim(text);
  if (list.starts_with('[') && list.ends_with(']')) list = list.substr(1, list.size() - 2);
  std::vector<int32_t> ids;
  for (const std::string& part : Split(list, ',')) {
    const std::string_view number = Trim(part);
    const auto id = NumberFromText<int32_t>(number);
    if (!id) {
      throw UsageError(fmt::format("--ids: expected token ids as 1,2,3, got '{}'", number));
    }
    ids.push_back(*id);
  }
  return ids;
}

std::string IdsToText(std::span<const int32_t> ids) {
  return fmt::format("[{}]", fmt::join(ids.begin(), ids.end(), ", "));
}

}  // namespace sophia::cli
