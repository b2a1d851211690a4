#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sophia/io/rows.h"
#include "sophia/io/tokenizer.h"
#include "sophia/train/examples.h"

namespace sophia::cli {

// The tokenizer of a GGUF file or of a folder, which needs no weights.
io::Tokenizer OpenTokenizer(const std::filesystem::path& model);

// A JSON file with a list of messages, or with an object of messages and perhaps tools.
io::ChatRow ReadMessages(const std::filesystem::path& path);

// The conversation as the chat template writes it; `prompt` asks for the start of an answer. Throws
// Error when the model has no template or the template refuses.
std::string RenderChat(const train::TextEncoder& encoder, const io::ChatRow& chat, bool prompt);

// The ids of a conversation that waits for an answer. Throws Error without a chat template.
std::vector<int32_t> PromptIds(const train::TextEncoder& encoder, const io::ChatRow& chat);
// The ids of a text as it is, to be continued.
std::vector<int32_t> RawIds(const train::TextEncoder& encoder, const std::string& text);

// "1,2,3", also with spaces or in brackets. Throws UsageError for anything else.
std::vector<int32_t> IdsFromText(const std::string& text);

// "[1, 2, 3]".
std::string IdsToText(std::span<const int32_t> ids);

}  // namespace sophia::cli
