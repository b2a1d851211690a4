#include <fmt/format.h>

#include "sophia/base/file.h"
#include "sophia/cli/commands.h"
#include "sophia/cli/conversation.h"

namespace sophia::cli {

int RunTokenize(const Values& values) {
  const int inputs = (values.Has("text") ? 1 : 0) + (values.Has("file") ? 1 : 0) +
                     (values.Has("messages") ? 1 : 0);
  const std::string model = values.NeedText("model_name_or_path");
  if (inputs != 1) {
    throw UsageError(
        fmt::format("expected one of --text, --file and --messages, got {} of them", inputs));
  }
  io::Tokenizer tokenizer = OpenTokenizer(model);
  if (!values.Has("messages")) {
    const std::string text =
        values.Has("text") ? values.Text("text") : ReadFile(values.NeedText("file"));
    const auto ids =
        tokenizer.Encode(text, {.add_special_tokens = values.Flag("add_special_tokens")});
    fmt::print("{}\n", IdsToText(ids));
    return 0;
  }
  const io::ChatRow chat = ReadMessages(values.NeedText("messages"));
  const int64_t vocab = tokenizer.vocab_size();
  const auto encoder = train::TextEncoder::ForTokenizer(std::move(tokenizer), vocab);
  const std::string text = RenderChat(encoder, chat, values.Flag("add_generation_prompt"));
  fmt::print("{}{}{}\n", text, text.ends_with('\n') ? "" : "\n",
             IdsToText(encoder.tokenizer->Encode(text)));
  return 0;
}

}  // namespace sophia::cli
