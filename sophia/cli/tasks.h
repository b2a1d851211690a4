#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/cli/text_model.h"
#include "sophia/io/rows.h"

namespace sophia::cli {

// A row's question in two forms, and its answer if it has one.
struct Task {
  Json prompt;  // text or messages
  std::vector<int32_t> ids;
  std::optional<std::string> expected;
};

// A conversation up to its last answer, or a prompt. nullopt: the row is neither. Throws Error
// naming `where` for a row without a question.
std::optional<Task> FindTask(const io::Row& row, const train::TextEncoder& encoder,
                             std::string_view where);

// Whether an answer is the expected one, white space around them aside.
bool IsExpected(const Task& task, std::string_view answer);

// Tokens of the longest question.
int64_t LongestPrompt(std::span<const Task> tasks);

// Answers the tasks in their order, `batch` at a time; the model is loaded for that. How far it is
// shows on stderr when that is a terminal.
void AnswerTasks(std::span<const Task> tasks, int64_t batch, TextModel& model,
                 const std::function<void(size_t task, const std::string& answer)>& on_answer);

}  // namespace sophia::cli
