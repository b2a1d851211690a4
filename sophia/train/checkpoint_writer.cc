#include "sophia/train/checkpoint_writer.h"

#include <algorithm>
#include <cmath>
#include <regex>

#include "sophia/base/durable.h"
#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/sha256.h"
#include "sophia/base/strings.h"
#include "sophia/io/safetensors.h"
#include "sophia/lora/peft.h"

namespace sophia::train {
namespace fs = std::filesystem;
namespace {

fs::path TemporaryPath(const fs::path& out, int64_t step) {
  return out / fmt::format("tmp-checkpoint-{}", step);
}

std::vector<std::string> FileNames(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

// A folder that is deleted with its content unless it was renamed.
class PartialFolder {
 public:
  explicit PartialFolder(fs::path path) : path_(std::move(path)) {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    MakeWritableFolder(path_);
  }
  ~PartialFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  PartialFolder(const PartialFolder&) = delete;
  PartialFolder& operator=(const PartialFolder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

void Rename(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) Fail(to.string(), "expected to rename into place, got: {}", error.message());
}

void WriteOptimizer(const fs::path& path, const std::vector<optim::Slot>& slots,
                    const HostArrays& arrays) {
  std::vector<io::TensorView> tensors;
  for (size_t i = 0; i < slots.size(); ++i) {
    tensors.push_back({slots[i].name, slots[i].shape, arrays[i]});
  }
  io::WriteSafetensors(path, tensors);
}

// The fields of transformers' TrainerState.
Json TrainerState(const TrainingRun& run, const OutputOptions& output, const Snapshot& snapshot) {
  Json history = Json::array();
  for (const std::string& row : Split(snapshot.metrics_rows, '\n')) {
    if (!row.empty()) history.push_back(ParseJson(row, "metrics"));
  }
  const double epochs = snapshot.state.epoch / static_cast<double>(snapshot.state.step) *
                        static_cast<double>(run.total_steps());
  const EvalOptions& eval = run.options().eval;
  Json state = {{"epoch", snapshot.state.epoch},
                {"eval_steps", eval.strategy == EvalStrategy::kSteps ? eval.steps : 0},
                {"global_step", snapshot.state.step},
                {"is_hyper_param_search", false},
                {"is_local_process_zero", true},
                {"is_world_process_zero", true},
                {"log_history", history},
                {"logging_steps", 1},
                {"max_steps", run.total_steps()},
                {"num_input_tokens_seen", 0},
                {"num_train_epochs", static_cast<int64_t>(std::ceil(epochs - 1e-9))},
                {"save_steps", output.save.steps},
                {"total_flos", 0},
                {"train_batch_size", run.options().batch},
                {"trial_name", nullptr},
                {"trial_params", nullptr}};
  state.update(ToTrainerState(snapshot.best, eval));
  return state;
}

Json Texts(const std::vector<fs::path>& paths) {
  Json texts = Json::array();
  for (const fs::path& path : paths) texts.push_back(path.string());
  return texts;
}

// Dropout draws from seed and step, shuffling from seed and epoch: there is no further generator.
Json RunStateJson(const TrainingRun& run, const RunState& state, const fs::path& folder) {
  Json files = Json::object();
  for (const std::string& name : FileNames(folder)) files[name] = Sha256OfFile(folder / name);
  const RunIdentity& identity = run.identity();
  Json data = {{"epoch", state.data.epoch},
               {"row", state.data.row},
               {"sequence", state.data.sequence},
               {"examples", identity.examples},
               {"sha256", identity.data_sha256}};
  if (!identity.evaluation_sha256.empty()) {
    data["evaluation_sha256"] = identity.evaluation_sha256;
  }
  Json model = {{"sha256", identity.model_sha256}};
  if (!identity.teacher_sha256.empty()) model["teacher_sha256"] = identity.teacher_sha256;
  return {{"format", kCheckpointFormat}, {"step", state.step}, {"total_steps", run.total_steps()},
          {"seed", run.options().seed},  {"data", data},       {"model", model},
          {"options", identity.options}, {"files", files}};
}

}  // namespace

Json TrainingArgs(const TrainingRun& run, const OutputOptions& output) {
  const TrainOptions& options = run.options();
  Json args = {{"model_name_or_path", options.model.string()},
               {"data", Texts(options.data)},
               {"output_dir", output.folder.string()},
               {"save_strategy", output.save.steps > 0 || output.save.minutes > 0 ? "steps" : "no"},
               {"save_steps", std::max<int64_t>(output.save.steps, 1)},
               {"save_minutes", output.save.minutes},
               {"save_total_limit", output.save.total_limit},
               {"report_to", output.logging_dir ? "tensorboard" : "none"},
               {"verify_base", output.verify_base}};
  if (output.logging_dir) args["logging_dir"] = output.logging_dir->string();
  if (!options.eval.data.empty()) args["eval_data"] = Texts(options.eval.data);
  args["eval_strategy"] = "no";
  args["load_best_model_at_end"] = options.eval.load_best;
  args.update(run.identity().options);
  if (options.isomorphism) args["teacher"] = options.isomorphism->teacher;
  if (!options.init_adapter.empty()) {
    for (const char* key :
         {"lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "use_rslora", "use_dora",
          "lora_rank_pattern", "lora_alpha_pattern", "lora_modules_to_save"}) {
      args.erase(key);
    }
    args["init_adapter"] = options.init_adapter.string();
  }
  return args;
}

fs::path WriteCheckpoint(const TrainingRun& run, const OutputOptions& output,
                         const Snapshot& snapshot) {
  const RunState& state = snapshot.state;
  const PartialFolder folder(TemporaryPath(output.folder, state.step));
  run.SaveAdapter(folder.path(), state.trainable);
  WriteOptimizer(folder.path() / kOptimizerFile, run.slots(), state.optimizer);
  const auto write_json = [&](std::string_view name, const Json& json) {
    WriteFile(folder.path() / name, Dump(json, 2) + "\n");
  };
  write_json(kTrainerStateFile, TrainerState(run, output, snapshot));
  write_json(kTrainingArgsFile, TrainingArgs(run, output));
  write_json(kRunStateFile, RunStateJson(run, state, folder.path()));
  for (const std::string& name : FileNames(folder.path())) SyncToDisk(folder.path() / name);
  SyncToDisk(folder.path());

  const CheckpointFolder place = CheckpointAt(output.folder, state.step);
  if (fs::exists(place.path)) DeleteCheckpoint(place);
  Rename(folder.path(), place.path);
  SyncToDisk(output.folder);
  return place.path;
}

void DeleteCheckpoint(const CheckpointFolder& checkpoint) {
  const fs::path out = checkpoint.path.parent_path();
  const PartialFolder trash(out / fmt::format("tmp-deleted-{}", checkpoint.step));
  Rename(checkpoint.path, trash.path());
}

void DropOldCheckpoints(const fs::path& out, int64_t limit, std::optional<int64_t> best_step) {
  const std::vector<CheckpointFolder> all = ListCheckpoints(out);
  auto count = static_cast<int64_t>(all.size());
  for (size_t i = 0; limit > 0 && count > limit && i + 1 < all.size(); ++i) {
    if (all[i].step == best_step) continue;
    DeleteCheckpoint(all[i]);
    --count;
  }
}

void RemoveLeftovers(const fs::path& out) {
  static const std::regex kLeftover(
      R"(tmp-(checkpoint|deleted)-\d+|(adapter_model\.safetensors|adapter_config\.json|)"
      R"(metrics\.jsonl|plan\.json|run\.json|training_args\.json)\.\d+\.tmp)");
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(out)) {
    if (std::regex_match(entry.path().filename().string(), kLeftover))
      found.push_back(entry.path());
  }
  std::error_code ignored;
  for (const fs::path& path : found) fs::remove_all(path, ignored);
}

}  // namespace sophia::train
