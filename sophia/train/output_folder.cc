#include "sophia/train/output_folder.h"

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/train/checkpoint_writer.h"

namespace sophia::train {
namespace fs = std::filesystem;
namespace {

bool IsIn(const fs::path& checkpoint, const fs::path& out) {
  std::error_code ignored;
  return fs::equivalent(checkpoint / "..", out, ignored);
}

std::optional<fs::path> Continued(const OutputOptions& options) {
  const std::string where = options.folder.string();
  const std::vector<CheckpointFolder> found = ListCheckpoints(options.folder);
  const ResumeOptions& resume = options.resume;
  if (resume.mode == ResumeMode::kLatest || resume.mode == ResumeMode::kAuto) {
    if (!found.empty()) return found.back().path;
    if (resume.mode == ResumeMode::kAuto) return std::nullopt;
    Fail(where, "expected a checkpoint to resume from, got none");
  }
  const bool stays = resume.mode == ResumeMode::kFrom && IsIn(resume.folder, options.folder);
  if (!found.empty() && !stays && !options.overwrite) {
    Fail(where,
         "expected a folder without checkpoints (resume continues the latest, "
         "overwrite_output_dir deletes them), got {}",
         found.back().path.filename().string());
  }
  if (resume.mode == ResumeMode::kFrom) return resume.folder;
  return std::nullopt;
}

}  // namespace

NewFolder::NewFolder(const fs::path& path) : path_(path), existed_(fs::exists(path)) {
  MakeWritableFolder(path);
}

NewFolder::~NewFolder() {
  std::error_code ignored;
  if (!existed_ && fs::is_empty(path_, ignored)) fs::remove(path_, ignored);
}

OutputFolder::OutputFolder(const OutputOptions& options)
    : options_(options), folder_(options.folder), lock_(options.folder) {
  RemoveLeftovers(options.folder);
  checkpoint_ = Continued(options);
}

void OutputFolder::Clear() const {
  if (!options_.overwrite) return;
  for (const CheckpointFolder& one : ListCheckpoints(options_.folder)) DeleteCheckpoint(one);
}

}  // namespace sophia::train
