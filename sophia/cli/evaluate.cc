#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/cli/commands.h"
#include "sophia/cli/tasks.h"
#include "sophia/eval/report.h"
#include "sophia/lora/peft.h"
#include "sophia/nn/isomorphism.h"
#include "sophia/train/same_vocabulary.h"
#include "sophia/train/setup.h"

namespace sophia::cli {
namespace {

namespace fs = std::filesystem;

// Tokens whose hidden states `compare` compares, as --isomorphism-tokens by default.
constexpr int64_t kProbes = 128;

// The rows of --data, and those of them that are answered.
struct Rows {
  std::vector<std::string> files;
  train::Dataset dataset;
  std::vector<eval::EvaluatedRow> evaluated;  // of the dataset's examples
  std::vector<size_t> answered;
  std::vector<Task> tasks;  // of `answered`
};

// The base model with an adapter; for `compare` also another model of the same vocabulary, if
// `path` is one.
struct Measured {
  Values values;
  std::string adapter;
  std::string model = {};  // another one

  Measured(const Values& given, const std::string& path) : values(given), adapter(path) {
    if (given.command() != kCompare || path.empty() || !fs::exists(path) ||
        lora::IsAdapterFolder(path)) {
      return;
    }
    values.SetText("model_name_or_path", path);
    std::swap(adapter, model);
  }
};

// The positions that the base model and these know. Throws Error for an adapter or a model that
// does not fit, before a model is measured.
int64_t CheckMeasured(const Values& values, const LoadedModel& base,
                      const std::vector<std::string>& paths) {
  int64_t positions = base.plan().model->sizes().max_positions;
  for (const std::string& path : paths) {
    if (path.empty()) continue;
    const Measured one(values, path);
    const LoadedModel loaded(one.values, one.adapter);
    if (one.model.empty()) continue;
    const models::ModelSizes& sizes = loaded.plan().model->sizes();
    train::CheckSameVocabulary({base.files(), base.plan().model->sizes().vocab},
                               {loaded.files(), sizes.vocab});
    positions = std::min(positions, sizes.max_positions);
  }
  return positions;
}

// Rows of at most `positions` tokens.
train::EncodedRows OpenRows(const Values& values, const LoadedModel& base, int64_t positions) {
  const std::vector<std::string> data = values.NeedTexts("data");
  return {train::EvaluationFiles({data.begin(), data.end()}, {}),
          train::EncoderFor(base.files(), base.plan().model->sizes().vocab),
          std::min(values.Integer("max_length"), positions)};
}

// nullopt: the row cannot be answered, such as one without a question.
std::optional<Task> FindTaskIfAny(const io::Row& row, const train::TextEncoder& encoder,
                                  std::string_view where) {
  try {
    return FindTask(row, encoder, where);
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Rows for the base model with what the paths name, see Measured. All are answered, or the first
// `samples` that can be.
Rows ReadRows(const Values& values, const std::vector<std::string>& paths, size_t samples) {
  const bool answers_all = values.Flag("exact_match");
  const LoadedModel base(values, "");
  const train::EncodedRows encoded = OpenRows(values, base, CheckMeasured(values, base, paths));
  Rows rows{.dataset = train::LoadDataset(encoded)};
  for (const io::RowFile& file : encoded.files()) rows.files.push_back(file.path().string());
  for (size_t i = 0; i < rows.dataset.size(); ++i) {
    const size_t row = rows.dataset.rows[i];
    eval::EvaluatedRow& evaluated = rows.evaluated.emplace_back();
    evaluated.where = encoded.Where(row);
    if (!answers_all && rows.answered.size() == samples) continue;
    const auto find = answers_all ? FindTask : FindTaskIfAny;
    std::optional<Task> task = find(encoded.Content(row), encoded.encoder(), evaluated.where);
    if (answers_all && !(task && task->expected)) {
      Fail(evaluated.where, "expected a question and an answer in text to compare with, got {}",
           task ? "no answer" : "neither");
    }
    if (!task) continue;
    evaluated.prompt = task->prompt;
    evaluated.expected = task->expected;
    rows.answered.push_back(i);
    rows.tasks.push_back(std::move(*task));
  }
  return rows;
}

void CheckFinite(const train::EvaluationResult& result, const Rows& rows) {
  for (size_t i = 0; i < result.rows.size(); ++i) {
    const double sum = result.rows[i].sum;
    if (std::isfinite(sum)) continue;
    Fail(rows.evaluated[i].where, "expected a finite loss, got {}",
         std::isnan(sum) ? std::abs(sum) : sum);
  }
}

// Loads what `path` names, see Measured, and evaluates it. `probes`: tokens whose hidden states are
// to be compared.
eval::Outcome Evaluate(const Values& values, std::string label, const std::string& path,
                       const Rows& rows, int64_t probes = 0) {
  const Measured measured(values, path);
  TextModel model(measured.values, measured.adapter);
  const int64_t batch = values.Integer("per_device_eval_batch_size");
  const auto at_once = std::min(batch, static_cast<int64_t>(rows.tasks.size()));
  if (rows.tasks.empty()) {
    model.LoadWeights();
  } else {
    model.Load({.batch = at_once, .longest_prompt = LongestPrompt(rows.tasks)});
  }
  const LoadedModel& loaded = model.model();
  train::Evaluator evaluator(rows.dataset, loaded.plan(),
                             {.batch = batch, .packing = values.Flag("packing")});
  evaluator.Compile(loaded.device(), loaded.cache());
  eval::Outcome outcome{.label = std::move(label),
                        .adapter = measured.adapter,
                        .model = measured.model,
                        .losses = evaluator.Run(loaded.parameters())};
  CheckFinite(outcome.losses, rows);
  if (probes > 0) {
    outcome.states = evaluator.FirstStates(probes, loaded.parameters(), loaded.cache());
  }
  outcome.answers.resize(rows.dataset.size());
  AnswerTasks(rows.tasks, at_once, model, [&](size_t i, const std::string& answer) {
    outcome.answers[rows.answered[i]] = {answer, IsExpected(rows.tasks[i], answer)};
  });
  return outcome;
}

eval::Report ReportOn(const Values& values, const Rows& rows) {
  return {.model = values.Text("model_name_or_path"),
          .data = rows.files,
          .summary = train::Summary(rows.dataset),
          .rows = rows.evaluated,
          .counts_matches = values.Flag("exact_match")};
}

void Print(const Values& values, const eval::Report& report) {
  fmt::print("{}",
             values.Flag("json") ? Dump(eval::ToJson(report), 2) + "\n" : eval::ToText(report));
}

}  // namespace

int RunEval(const Values& values) {
  const std::string adapter = values.Text("adapter");
  const bool compares = values.Flag("before_after");
  if (compares && adapter.empty()) {
    throw UsageError("expected --adapter beside --before-after, got none");
  }
  if (values.Flag("save_samples") && !compares) {
    throw UsageError("expected --before-after beside --save-samples, got none");
  }
  const auto samples = static_cast<size_t>(values.Integer("samples"));
  const Rows rows = ReadRows(values, {adapter}, compares ? samples : 0);
  eval::Report report = ReportOn(values, rows);
  if (!compares) {
    report.outcomes.push_back(Evaluate(values, "", adapter, rows));
  } else {
    report.outcomes.push_back(Evaluate(values, "before", "", rows));
    report.outcomes.push_back(Evaluate(values, "after", adapter, rows));
    report.samples = rows.answered;
    report.samples.resize(std::min(rows.answered.size(), samples));
    if (values.Flag("save_samples"))
      WriteFile(fs::path(adapter) / "samples.jsonl", eval::SampleLines(report));
  }
  Print(values, report);
  return 0;
}

int RunCompare(const Values& values) {
  std::vector<std::string> paths = {values.NeedText("first")};
  paths.insert(values.Has("second") ? paths.end() : paths.begin(), values.Text("second"));
  for (std::string& path : paths) {
    if (path == train::kBaseTeacher) path.clear();
  }
  if (paths[0].empty() && paths[1].empty()) {
    throw UsageError("expected an adapter or a model to compare with the base model, got none");
  }
  const Rows rows = ReadRows(values, paths, 0);
  eval::Report report = ReportOn(values, rows);
  report.outcomes.push_back(Evaluate(values, "a", paths[0], rows, kProbes));
  report.outcomes.push_back(Evaluate(values, "b", paths[1], rows, kProbes));
  const std::vector<float>& counted = report.outcomes[0].states.counted;
  if (std::ranges::count(counted, 1.0F) >= nn::kLeastTokens) {
    report.geometry = eval::CompareGeometry(report.outcomes[0].states, report.outcomes[1].states,
                                            OpenDevice(values).device);
  }
  report.samples = eval::MostDifferent(report.outcomes[0], report.outcomes[1],
                                       static_cast<size_t>(values.Integer("samples")));
  Print(values, report);
  return 0;
}

}  // namespace sophia::cli
