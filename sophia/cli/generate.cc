#include <fmt/format.h>

#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/cli/commands.h"
#include "sophia/cli/conversation.h"
#include "sophia/cli/tasks.h"
#include "sophia/io/row_file.h"

namespace sophia::cli {
namespace {

std::vector<Task> ReadTasks(const Values& values, const train::TextEncoder& encoder) {
  const io::RowFile rows(values.NeedText("data"));
  std::vector<Task> tasks;
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string where = rows.Where(i);
    std::optional<Task> task = FindTask(rows.GetPrompt(i), encoder, where);
    if (!task) Fail(where, "expected messages, or prompt and completion, got neither");
    if (values.Flag("exact_match") && !task->expected) {
      Fail(where, "expected an answer in text to compare with, got none");
    }
    tasks.push_back(std::move(*task));
  }
  if (tasks.empty()) Fail(rows.path().string(), "expected at least one row, got none");
  return tasks;
}

// Answers every row of --data.
int AnswerRows(const Values& values) {
  const bool writes = values.Has("out");
  if (!writes && !values.Flag("exact_match")) {
    throw UsageError("expected --out or --exact-match beside --data, got neither");
  }
  TextModel model(values);
  const std::vector<Task> tasks = ReadTasks(values, model.encoder());
  std::optional<AtomicFile> file;
  if (writes) file.emplace(values.NeedText("out"));

  const int64_t batch =
      std::min(values.Integer("per_device_eval_batch_size"), static_cast<int64_t>(tasks.size()));
  model.Load({.batch = batch, .longest_prompt = LongestPrompt(tasks)});
  size_t matches = 0;
  AnswerTasks(tasks, batch, model, [&](size_t i, const std::string& answer) {
    if (IsExpected(tasks[i], answer)) ++matches;
    if (!file) return;
    const auto& expected = tasks[i].expected;
    file->Write(Dump(Json{{"prompt", tasks[i].prompt},
                          {"expected", expected ? Json(*expected) : Json(nullptr)},
                          {"generated", answer}}) +
                "\n");
  });
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

std::vector<int32_t> IdsOfPrompt(const Values& values, const train::TextEncoder& encoder) {
  if (values.Has("messages")) {
    if (values.Has("system")) throw UsageError("expected --system or --messages, got both");
    return PromptIds(encoder, ReadMessages(values.NeedText("messages")));
  }
  const std::string prompt = values.NeedText("prompt");
  if (values.Flag("raw")) {
    if (values.Has("system")) throw UsageError("expected --system or --raw, got both");
    return RawIds(encoder, prompt);
  }
  Json messages = Json::array();
  if (values.Has("system")) {
    messages.push_back({{"role", "system"}, {"content", values.Text("system")}});
  }
  messages.push_back({{"role", "user"}, {"content", prompt}});
  return PromptIds(encoder, {std::move(messages), nullptr});
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
  const std::vector<int32_t> ids = IdsOfPrompt(values, model.encoder());
  model.Load({.longest_prompt = static_cast<int64_t>(ids.size())});
  model.Stream(ids);
  return 0;
}

}  // namespace sophia::cli
