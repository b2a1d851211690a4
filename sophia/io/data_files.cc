#include "sophia/io/data_files.h"

#include <map>
#include <optional>
#include <regex>
#include <set>
#include <span>
#include <string>

#include "sophia/base/error.h"

namespace sophia::io {
namespace fs = std::filesystem;
namespace {

constexpr const char* kTrain[] = {"train"};
constexpr const char* kValid[] = {"valid", "validation"};
constexpr const char* kExtensions[] = {".jsonl", ".json", ".parquet"};

// The files NAME-00000-of-00002.EXTENSION of a folder; the hub puts a hash behind some.
std::vector<fs::path> Shards(const fs::path& folder, const char* name, const char* extension) {
  const std::regex pattern(
      fmt::format(R"({}-(\d{{5,9}})-of-(\d{{5,9}})(-[0-9a-f]+)?\{})", name, extension));
  std::map<size_t, fs::path> files;
  std::set<size_t> counts;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string file = entry.path().filename().string();
    std::smatch match;
    if (!std::regex_match(file, match, pattern) || !entry.is_regular_file()) continue;
    const size_t number = std::stoul(match[1]);
    counts.insert(std::stoul(match[2]));
    const auto [other, is_new] = files.emplace(number, entry.path());
    if (!is_new) {
      Fail(folder.string(), "expected one file {}-{}-of-{}{}, got {} and {}", name, match[1].str(),
           match[2].str(), extension, other->second.filename().string(), file);
    }
  }
  std::vector<fs::path> paths;
  for (const auto& [number, path] : files) {
    if (counts.size() != 1 || number != paths.size()) break;
    paths.push_back(path);
  }
  if (!files.empty() && paths.size() != *counts.begin()) {
    Fail(folder.string(), "expected all files {}-00000-of-{:05}{} and so on, got {} of them", name,
         *counts.rbegin(), extension, files.size());
  }
  return paths;
}

std::vector<fs::path> FindFiles(const fs::path& folder, std::span<const char* const> names) {
  std::error_code error;
  for (const fs::path& place : {folder, folder / "data"}) {
    if (!fs::is_directory(place, error)) continue;
    for (const char* name : names) {
      for (const char* extension : kExtensions) {
        const fs::path path = place / (std::string(name) + extension);
        if (fs::is_regular_file(path, error)) return {path};
      }
    }
    for (const char* name : names) {
      for (const char* extension : kExtensions) {
        std::vector<fs::path> paths = Shards(place, name, extension);
        if (!paths.empty()) return paths;
      }
    }
  }
  return {};
}

}  // namespace

DataFiles FindDataFiles(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {.train = {path}};
  DataFiles files{.train = FindFiles(path, kTrain), .valid = FindFiles(path, kValid)};
  if (files.train.empty()) {
    Fail(path.string(), "expected a folder with train.jsonl or train.parquet, got one without");
  }
  return files;
}

std::vector<fs::path> FindEvaluationFiles(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {path};
  std::vector<fs::path> files = FindFiles(path, kValid);
  if (files.empty()) {
    Fail(path.string(), "expected a folder with valid.jsonl or valid.parquet, got one without");
  }
  return files;
}

}  // namespace sophia::io
