#include "sophia/cli/tasks.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/cli/conversation.h"

namespace sophia::cli {
namespace {

// `messages` may end with the answer.
Task ChatTask(Json messages, const Json& tools, const train::TextEncoder& encoder,
              std::string_view where) {
  Task task;
  const Json& last = messages.back();
  if (last.value("role", "") == "assistant") {
    if (last["content"].is_string()) task.expected = last["content"].get<std::string>();
    messages.erase(messages.size() - 1);
  }
  if (messages.empty()) Fail(where, "expected a turn before the assistant's, got none");
  task.ids = PromptIds(encoder, {messages, tools});
  task.prompt = std::move(messages);
  return task;
}

Task PairTask(const io::PromptCompletionRow& row, const train::TextEncoder& encoder,
              std::string_view where) {
  if (row.prompt.is_array()) {
    Json messages = row.prompt;
    if (row.completion.is_null()) return ChatTask(std::move(messages), row.tools, encoder, where);
    if (row.completion.size() != 1) {
      Fail(where, "expected a completion of one message, got {}", row.completion.size());
    }
    messages.push_back(row.completion[0]);
    return ChatTask(std::move(messages), row.tools, encoder, where);
  }
  Task task{.prompt = row.prompt, .ids = RawIds(encoder, row.prompt.get<std::string>())};
  if (row.completion.is_string()) task.expected = row.completion.get<std::string>();
  return task;
}

}  // namespace

std::optional<Task> FindTask(const io::Row& row, const train::TextEncoder& encoder,
                             std::string_view where) {
  if (const auto* chat = std::get_if<io::ChatRow>(&row)) {
    return ChatTask(chat->messages, chat->tools, encoder, where);
  }
  if (const auto* pair = std::get_if<io::PromptCompletionRow>(&row)) {
    return PairTask(*pair, encoder, where);
  }
  return std::nullopt;
}

bool IsExpected(const Task& task, std::string_view answer) {
  return task.expected && Trim(answer) == Trim(*task.expected);
}

int64_t LongestPrompt(std::span<const Task> tasks) {
  size_t longest = 0;
  for (const Task& task : tasks) longest = std::max(longest, task.ids.size());
  return static_cast<int64_t>(longest);
}

void AnswerTasks(std::span<const Task> tasks, int64_t batch, TextModel& model,
                 const std::function<void(size_t task, const std::string& answer)>& on_answer) {
  const bool is_terminal = isatty(fileno(stderr)) == 1;
  const auto at_once = static_cast<size_t>(batch);
  for (size_t first = 0; first < tasks.size(); first += at_once) {
    const size_t last = std::min(tasks.size(), first + at_once);
    std::vector<std::vector<int32_t>> prompts;
    for (size_t i = first; i < last; ++i) prompts.push_back(tasks[i].ids);
    const std::vector<std::string> answers = model.Answer(prompts);
    for (size_t i = first; i < last; ++i) on_answer(i, answers[i - first]);
    if (is_terminal) fmt::print(stderr, "\r{}/{} rows\x1b[K", last, tasks.size());
  }
  if (is_terminal) fmt::print(stderr, "\n");
}

}  // namespace sophia::cli
