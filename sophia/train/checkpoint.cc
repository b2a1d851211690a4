#include "sophia/train/checkpoint.h"

#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/sha256.h"
#include "sophia/base/strings.h"
#include "sophia/io/safetensors.h"

namespace sophia::train {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kPrefix = "checkpoint-";

const Json& Object(const Json& parent, const char* key, std::string_view where) {
  const auto found = parent.find(key);
  if (found == parent.end() || !found->is_object()) {
    Fail(where, "expected key '{}' (an object), got {}", key,
         found == parent.end() ? "none" : found->type_name());
  }
  return *found;
}

void CheckFiles(const fs::path& folder, const Json& files, std::string_view where) {
  for (const auto& [name, digest] : files.items()) {
    const fs::path path = folder / name;
    if (!fs::is_regular_file(path)) {
      Fail(folder.string(), "expected a complete checkpoint, got one without {}", name);
    }
    if (Sha256OfFile(path) != Require<std::string>(files, name, where)) {
      Fail(path.string(), "expected the file as it was saved (sha256 {}), got other bytes",
           digest.get<std::string>().substr(0, 12));
    }
  }
}

std::string Text(const Json& object, const std::string& key) {
  const auto found = object.find(key);
  return found == object.end() ? "nothing" : Dump(*found);
}

// "learning_rate 0.1 (saved: 0.2)" for each option that is not the same.
std::vector<std::string> Differences(const Json& now, const Json& saved) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : now.items()) keys.push_back(key);
  for (const auto& [key, value] : saved.items()) {
    if (!now.contains(key)) keys.push_back(key);
  }
  std::vector<std::string> differences;
  for (const std::string& key : keys) {
    if (now.contains(key) && saved.contains(key) && now[key] == saved[key]) continue;
    differences.push_back(fmt::format("{} {} (saved: {})", key, Text(now, key), Text(saved, key)));
  }
  return differences;
}

}  // namespace

Checkpoint::Checkpoint(fs::path folder) : folder_(std::move(folder)) {
  const fs::path path = folder_ / kRunStateFile;
  const std::string where = path.string();
  if (!fs::is_regular_file(path)) {
    Fail(folder_.string(), "expected a checkpoint of this program, with {}, got {}", kRunStateFile,
         fs::exists(folder_) ? "a place without it" : "nothing there");
  }
  const Json state = ReadJson(path);
  const auto format = Require<int64_t>(state, "format", where);
  if (format != kCheckpointFormat) {
    Fail(where, "expected a checkpoint of format {}, got {}", kCheckpointFormat, format);
  }
  step_ = Require<int64_t>(state, "step", where);
  const Json& data = Object(state, "data", where);
  const Json& model = Object(state, "model", where);
  data_ = {.epoch = Require<int64_t>(data, "epoch", where),
           .row = Require<int64_t>(data, "row", where),
           .sequence = Require<int64_t>(data, "sequence", where)};
  identity_ = {.model_sha256 = Require<std::string>(model, "sha256", where),
               .data_sha256 = Require<std::string>(data, "sha256", where),
               .evaluation_sha256 = FindOr<std::string>(data, "evaluation_sha256", "", where),
               .teacher_sha256 = FindOr<std::string>(model, "teacher_sha256", "", where),
               .examples = Require<int64_t>(data, "examples", where),
               .options = Object(state, "options", where)};
  CheckFiles(folder_, Object(state, "files", where), where);
}

std::string Checkpoint::MetricsRows() const {
  const fs::path path = folder_ / kTrainerStateFile;
  const Json state = ReadJson(path);
  const auto history = state.find("log_history");
  if (history == state.end() || !history->is_array()) {
    Fail(path.string(), "expected key 'log_history' (a list), got none");
  }
  std::string rows;
  for (const Json& row : *history) rows += Dump(row) + "\n";
  return rows;
}

BestModel Checkpoint::Best() const {
  const fs::path path = folder_ / kTrainerStateFile;
  return BestFromTrainerState(ReadJson(path), path.string());
}

void Checkpoint::CheckBelongsTo(const RunIdentity& run) const {
  std::vector<std::string> differences = Differences(run.options, identity_.options);
  const auto digest = [](const std::string& sha256) {
    return sha256.empty() ? "none" : sha256.substr(0, 12);
  };
  if (run.model_sha256 != identity_.model_sha256) {
    differences.push_back(fmt::format("model {} (saved: {})", digest(run.model_sha256),
                                      digest(identity_.model_sha256)));
  }
  if (run.data_sha256 != identity_.data_sha256) {
    differences.push_back(fmt::format("data {} with {} examples (saved: {} with {})",
                                      digest(run.data_sha256), run.examples,
                                      digest(identity_.data_sha256), identity_.examples));
  }
  if (run.evaluation_sha256 != identity_.evaluation_sha256) {
    differences.push_back(fmt::format("eval_data {} (saved: {})", digest(run.evaluation_sha256),
                                      digest(identity_.evaluation_sha256)));
  }
  if (run.teacher_sha256 != identity_.teacher_sha256) {
    differences.push_back(fmt::format("teacher {} (saved: {})", digest(run.teacher_sha256),
                                      digest(identity_.teacher_sha256)));
  }
  if (differences.empty()) return;
  Fail(folder_.string(), "expected the run that this checkpoint is of, got another: {}",
       Join(differences, ", "));
}

MemoryPolicy Checkpoint::policy() const {
  const std::string where = (folder_ / kRunStateFile).string();
  return MemoryPolicy::FromText(Require<std::string>(identity_.options, "policy", where));
}

std::vector<pjrt::Buffer> Checkpoint::LoadOptimizer(const std::vector<optim::Slot>& slots,
                                                    const pjrt::Device& device) const {
  const io::SafetensorsFile file(folder_ / kOptimizerFile);
  std::vector<pjrt::Buffer> buffers;
  for (const optim::Slot& slot : slots) {
    const io::TensorInfo& info = file.Get(slot.name);
    if (info.shape != slot.shape) {
      Fail(file.path().string(), "expected '{}' as {}, got {}", slot.name, ToString(slot.shape),
           ToString(info.shape));
    }
    buffers.push_back(pjrt::Buffer::FromHost(device, slot.shape, file.Stored(slot.name)));
  }
  return buffers;
}

CheckpointFolder CheckpointAt(const fs::path& out, int64_t step) {
  return {step, out / fmt::format("{}{}", kPrefix, step)};
}

std::vector<CheckpointFolder> ListCheckpoints(const fs::path& out) {
  std::vector<CheckpointFolder> folders;
  if (!fs::is_directory(out)) return folders;
  for (const fs::directory_entry& entry : fs::directory_iterator(out)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix) || !entry.is_directory()) continue;
    const auto step = NumberFromText<int64_t>(std::string_view(name).substr(kPrefix.size()));
    if (step) folders.push_back({*step, entry.path()});
  }
  std::ranges::sort(folders, {}, &CheckpointFolder::step);
  return folders;
}

}  // namespace sophia::train
