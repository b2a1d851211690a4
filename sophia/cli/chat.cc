#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/cli/commands.h"
#include "sophia/cli/conversation.h"
#include "sophia/cli/text_model.h"

namespace sophia::cli {
namespace {

class Chat {
 public:
  explicit Chat(const Values& values) : values_(values), model_(values) {
    model_.Load({.capacity = std::min(values.Integer("max_length"), model_.max_positions())});
    Reset();
  }

  // Answers what the user says; a conversation that has become too long says so and stays as it is.
  void Say(const std::string& text) {
    messages_.push_back({{"role", "user"}, {"content", text}});
    const std::vector<int32_t> ids = PromptIds(model_.encoder(), {messages_, nullptr});
    if (static_cast<int64_t>(ids.size()) >= model_.capacity()) {
      messages_.erase(messages_.size() - 1);
      fmt::print("(the conversation has reached {} tokens: /reset starts a new one)\n",
                 model_.capacity());
      return;
    }
    messages_.push_back({{"role", "assistant"}, {"content", model_.Stream(ids)}});
  }

  void Reset() {
    messages_ = Json::array();
    if (values_.Has("system")) {
      messages_.push_back({{"role", "system"}, {"content", values_.Text("system")}});
    }
  }

 private:
  const Values& values_;
  TextModel model_;
  Json messages_;
};

}  // namespace

int RunChat(const Values& values) {
  Chat chat(values);
  const bool is_terminal = isatty(fileno(stdin)) == 1;
  if (is_terminal) fmt::print("/reset starts anew, /exit or Ctrl-D ends.\n");
  while (true) {
    if (is_terminal) fmt::print("> ");
    std::fflush(stdout);
    std::string line;
    if (!std::getline(std::cin, line)) break;
    const std::string text(Trim(line));
    if (text.empty()) continue;
    if (text == "/exit") break;
    if (text == "/reset") {
      chat.Reset();
    } else if (text.starts_with('/')) {
      fmt::print("expected /reset or /exit, got '{}'{}\n", text,
                 DidYouMean(text, {"/reset", "/exit"}));
    } else {
      chat.Say(text);
    }
  }
  if (is_terminal) fmt::print("\n");
  return 0;
}

}  // namespace sophia::cli
