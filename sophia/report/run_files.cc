#include "sophia/report/run_files.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/strings.h"

namespace sophia::report {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kRunFile = "run.json";
constexpr std::string_view kMetricsFile = "metrics.jsonl";
constexpr size_t kLargestFile = 16 << 20;
constexpr size_t kMostSamples = 20;

// Empty for a file that is not there. Throws Error for one that cannot be read.
std::string ReadIfThere(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return "";
  const RandomAccessFile file(path);
  if (file.size() > kLargestFile) {
    Fail(path.filename().string(), "expected at most {} bytes, got {}", kLargestFile, file.size());
  }
  std::string text(file.size(), '\0');
  file.Read(0, text);
  return text;
}

}  // namespace

RunFiles::RunFiles(fs::path folder)
    : folder_(std::move(folder)),
      earlier_run_(IdentityOf(kRunFile)),
      earlier_metrics_(IdentityOf(kMetricsFile)),
      metrics_(folder_ / kMetricsFile) {}

void RunFiles::Refresh() {
  problems_.clear();
  run_ = ReadObject(kRunFile);
  options_ = ReadObject("training_args.json");
  plan_ = ReadObject("plan.json");
  ReadSamples();
  try {
    metrics_.Refresh();
  } catch (const Error& error) {
    problems_.emplace_back(error.what());
  }
  if (metrics().broken_lines > 0) {
    problems_.push_back(
        fmt::format("metrics.jsonl: {} lines are no objects with a step", metrics().broken_lines));
  }
  if (metrics().ends_early) problems_.emplace_back("metrics.jsonl: the last line is not complete");
}

bool RunFiles::HasNewRun() const {
  const auto is_new = [&](std::string_view name, const std::string& earlier) {
    const std::string now = IdentityOf(name);
    return !now.empty() && now != earlier;
  };
  return is_new(kRunFile, earlier_run_) || is_new(kMetricsFile, earlier_metrics_);
}

std::string RunFiles::IdentityOf(std::string_view name) const {
  struct stat found {};
  if (stat((folder_ / name).c_str(), &found) != 0 || found.st_size == 0) return "";
  return fmt::format("{} {}.{}", found.st_ino, found.st_mtim.tv_sec, found.st_mtim.tv_nsec);
}

Json RunFiles::ReadObject(std::string_view name) {
  try {
    const std::string text = ReadIfThere(folder_ / name);
    if (text.empty()) return nullptr;
    Json json = ParseJson(text, name);
    if (json.is_object()) return json;
    Fail(name, "expected an object, got {}", json.type_name());
  } catch (const Error& error) {
    problems_.emplace_back(error.what());
    return nullptr;
  }
}

void RunFiles::ReadSamples() {
  samples_.clear();
  try {
    for (const std::string& line : Split(ReadIfThere(folder_ / "samples.jsonl"), '\n')) {
      if (Trim(line).empty()) continue;
      if (samples_.size() == kMostSamples) return;
      const Json row = ParseJson(line, "samples.jsonl");
      const auto text = [&](std::string_view key) {
        return FindOr<std::string>(row, key, "", "samples.jsonl");
      };
      samples_.push_back({text("prompt"), text("expected"), text("before"), text("after")});
    }
  } catch (const Error& error) {
    problems_.emplace_back(error.what());
  }
}

}  // namespace sophia::report
