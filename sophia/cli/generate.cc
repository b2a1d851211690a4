#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/strings.h"
#include "sophia/cli/commands.h"
#include "sophia/cli/conversation.h"
#include "sophia/cli/text_model.h"
#include "sophia/io/row_file.h"

namespace sophia::cli {
namespace {

// A row's question in two forms, and its answer.
struct Task {
  Json prompt;  // text or messages
  std::vector<int32_t> ids;
  std::string expected;
};

std::string TextOf(const Json& message, std::string_view where) {
  if (message.value("role", "") != "assistant" || !message["content"].is_string()) {
    Fail(where, "expected the last message to be a text of the assistant, got {}",
         Dump(message).substr(0, 80));
  }
  return message["content"].get<std::string>();
}

Task ChatTask(Json messages, const Json& answer, const Json& tools, const TextModel& model,
              std::string_view where) {
  Task task{.expected = TextOf(answer, where)};
  if (messages.empty()) Fail(where, "expected a turn before the assistant's, got none");
  task.ids = model.PromptIds({messages, tools});
  task.prompt = std::move(messages);
  return task;
}

Task TaskOf(const io::Row& row, const TextModel& model, std::string_view where) {
  if (const auto* chat = std::get_if<io::ChatRow>(&row)) {
    Json messages = chat->messages;
    messages.erase(messages.size() - 1);
    return ChatTask(std::move(messages), chat->messages.back(), chat->tools, model, where);
  }
  const auto* pair = std::get_if<io::PromptCompletionRow>(&row);
  if (pair == nullptr) Fail(where, "expected messages, or prompt and completion, got neither");
  if (pair->prompt.is_array()) {
    if (pair->completion.size() != 1) {
      Fail(where, "expected a completion of one message, got {}", pair->completion.size());
    }
    return ChatTask(pair->prompt, pair->completion[0], pair->tools, model, where);
  }
  return {.prompt = pair->prompt,
          .ids = model.RawIds(pair->prompt.get<std::string>()),
          .expected = pair->completion.get<std::string>()};
}

std::vector<Task> ReadTasks(const std::string& path, const TextModel& model) {
  std::vector<Task> tasks;
  const io::RowFile rows(path);
  for (size_t i = 0; i < rows.size(); ++i) {
    tasks.push_back(TaskOf(rows.Get(i), model, rows.Where(i)));
  }
  if (tasks.empty()) Fail(path, "expected at least one row, got none");
  return tasks;
}

// Answers every row of --data.
int AnswerRows(const Values& values) {
  const std::string data = values.NeedText("data");
  const bool writes = values.Has("out");
  if (!writes && !values.Flag("exact_match")) {
    throw UsageError("expected --out or --exact-match beside --data, got neither");
  }
  TextModel model(values);
  const std::vector<Task> tasks = ReadTasks(data, model);
  size_t longest = 0;
  for (const Task& task : tasks) longest = std::max(longest, task.ids.size());
  std::optional<AtomicFile> file;
  if (writes) file.emplace(values.NeedText("out"));

  const int64_t batch =
      std::min(values.Integer("per_device_eval_batch_size"), static_cast<int64_t>(tasks.size()));
  model.Load({.batch = batch, .longest_prompt = static_cast<int64_t>(longest)});
  const bool is_terminal = isatty(fileno(stderr)) == 1;
  size_t matches = 0;
  for (size_t first = 0; first < tasks.size(); first += static_cast<size_t>(batch)) {
    const size_t last = std::min(tasks.size(), first + static_cast<size_t>(batch));
    std::vector<std::vector<int32_t>> prompts;
    for (size_t i = first; i < last; ++i) prompts.push_back(tasks[i].ids);
    const std::vector<std::string> answers = model.Answer(prompts);
    for (size_t i = first; i < last; ++i) {
      const std::string& answer = answers[i - first];
      if (Trim(answer) == Trim(tasks[i].expected)) ++matches;
      if (!file) continue;
      file->Write(Dump(Json{{"prompt", tasks[i].prompt},
                            {"expected", tasks[i].expected},
                            {"generated", answer}}) +
                  "\n");
    }
    if (is_terminal) fmt::print(stderr, "\r{}/{} rows\x1b[K", last, tasks.size());
  }
  if (is_terminal) fmt::print(stderr, "\n");
  if (file) {
    file->Commit();
    fmt::print("{}: {} rows\n", values.Text("out"), tasks.size());
  }
  if (values.Flag("exact_match")) {
    fmt::print("exact match: {} of {} ({:.1f} %)\n", matches, tasks.size(),
               100.0 * static_cast<double>(matches) / static_cast<double>(tasks.size()));
  }
  return 0;
}

// --ids: ids in, ids out, without a tokenizer.
int ContinueIds(const Values& values) {
  const std::vector<int32_t> ids = IdsFromText(values.NeedText("ids"));
  TextModel model(values, TextModel::Tokens::kIdsOnly);
  model.Load({.longest_prompt = static_cast<int64_t>(ids.size())});
  fmt::print("{}\n", IdsToText(model.Continue(ids)));
  return 0;
}

std::vector<int32_t> PromptIds(const Values& values, const TextModel& model) {
  if (values.Has("messages")) {
    if (values.Has("system")) throw UsageError("expected --system or --messages, got both");
    return model.PromptIds(ReadMessages(values.NeedText("messages")));
  }
  const std::string prompt = values.NeedText("prompt");
  if (values.Flag("raw")) {
    if (values.Has("system")) throw UsageError("expected --system or --raw, got both");
    return model.RawIds(prompt);
  }
  Json messages = Json::array();
  if (values.Has("system")) {
    messages.push_back({{"role", "system"}, {"content", values.Text("system")}});
  }
  messages.push_back({{"role", "user"}, {"content", prompt}});
  return model.PromptIds({std::move(messages), nullptr});
}

}  // namespace

int RunGenerate(const Values& values) {
  int inputs = 0;
  for (const char* key : {"prompt", "messages", "data", "ids"}) inputs += values.Has(key) ? 1 : 0;
  if (inputs != 1) {
    throw UsageError(fmt::format(
        "expected one of --prompt, --messages, --data and --ids, got {} of them", inputs));
  }
  values.NeedText("model_name_or_path");
  for (const char* key : {"out", "exact_match"}) {
    if (values.Has(key) && !values.Has("data")) {
      throw UsageError(fmt::format("expected --data beside --{}, got none", Dashed(key)));
    }
  }
  if (values.Has("data")) return AnswerRows(values);
  if (values.Has("ids")) return ContinueIds(values);
  TextModel model(values);
  const std::vector<int32_t> ids = PromptIds(values, model);
  model.Load({.longest_prompt = static_cast<int64_t>(ids.size())});
  model.Stream(ids);
  return 0;
}

}  // namespace sophia::cli
