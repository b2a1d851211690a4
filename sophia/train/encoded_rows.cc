#include "sophia/train/encoded_rows.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

#include "sophia/base/error.h"
#include "sophia/io/data_files.h"

namespace sophia::train {
namespace {

// Fewer rows are not worth a thread.
constexpr size_t kRowsAThread = 64;

bool HasPrompt(const io::Row& row) {
  if (const auto* pair = std::get_if<io::PromptCompletionRow>(&row)) return pair->prompt != "";
  if (const auto* segments = std::get_if<io::SegmentsRow>(&row)) {
    return std::ranges::any_of(segments->segments, [](const auto& one) { return !one.learnt; });
  }
  return std::holds_alternative<io::ChatRow>(row);
}

}  // namespace

EncodedRows::EncodedRows(const FileLists& data, TextEncoder encoder, int64_t max_length)
    : starts_{0}, part_starts_{0}, encoder_(std::move(encoder)), max_length_(max_length) {
  std::vector<io::RowFile> opened;
  for (const std::vector<std::filesystem::path>& files : data) {
    for (const std::filesystem::path& path : files) {
      const io::RowFile& file = opened.emplace_back(path);
      if (file.size() == 0) Fail(path.string(), "expected at least one row, got none");
      starts_.push_back(starts_.back() + file.size());
    }
    part_starts_.push_back(starts_.back());
  }
  files_ = std::make_shared<const std::vector<io::RowFile>>(std::move(opened));
}

EncodedRows EncodedRows::Select(std::vector<size_t> rows) const {
  SOPHIA_CHECK(!chosen_ && std::ranges::is_sorted(rows));
  EncodedRows selected = *this;
  selected.chosen_ = std::move(rows);
  return selected;
}

std::vector<size_t> EncodedRows::parts() const {
  std::vector<size_t> parts;
  for (size_t i = 0; i + 1 < part_starts_.size(); ++i) {
    if (!chosen_) {
      parts.push_back(part_starts_[i + 1] - part_starts_[i]);
      continue;
    }
    const auto begin = std::ranges::lower_bound(*chosen_, part_starts_[i]);
    const auto end = std::ranges::lower_bound(*chosen_, part_starts_[i + 1]);
    parts.push_back(static_cast<size_t>(end - begin));
  }
  return parts;
}

std::string EncodedRows::Name() const {
  const std::string first = files().front().path().string();
  return files().size() == 1 ? first : fmt::format("{} and {} more", first, files().size() - 1);
}

EncodedRows::Place EncodedRows::At(size_t row) const {
  if (chosen_) row = (*chosen_)[row];
  const auto next = std::ranges::upper_bound(starts_, row);
  const auto file = static_cast<size_t>(next - starts_.begin()) - 1;
  return {files()[file], row - starts_[file]};
}

std::string EncodedRows::Where(size_t row) const {
  const Place place = At(row);
  return place.file.Where(place.row);
}

io::Row EncodedRows::Content(size_t row) const {
  const Place place = At(row);
  return place.file.Get(place.row);
}

EncodedRow EncodedRows::Get(size_t row) const {
  const Place place = At(row);
  const io::Row content = place.file.Get(place.row);
  EncodedRow encoded{.example = EncodeRow(content, encoder_, place.file.Where(place.row)),
                     .has_prompt = HasPrompt(content)};
  encoded.tokens = static_cast<int64_t>(encoded.example.ids.size());
  if (encoded.tokens > max_length_) {
    encoded.example.ids.resize(static_cast<size_t>(max_length_));
    encoded.example.labels.resize(static_cast<size_t>(max_length_));
  }
  return encoded;
}

std::vector<EncodedRow> EncodedRows::Get(std::span<const size_t> rows) const {
  std::vector<EncodedRow> encoded(rows.size());
  std::vector<std::exception_ptr> errors(encoded.size());
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < encoded.size(); i = next++) {
      try {
        encoded[i] = Get(rows[i]);
      } catch (...) {
        errors[i] = std::current_exception();
        next = encoded.size();
      }
    }
  };
  const size_t threads = std::min<size_t>(std::max(1u, std::thread::hardware_concurrency()),
                                          encoded.size() / kRowsAThread + 1);
  {
    std::vector<std::jthread> others;
    for (size_t i = 1; i < threads; ++i) others.emplace_back(work);
    work();
  }
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  return encoded;
}

FileLists TrainFiles(const std::vector<std::filesystem::path>& data) {
  FileLists files;
  for (const std::filesystem::path& path : data) files.push_back(io::FindDataFiles(path).train);
  return files;
}

FileLists EvaluationFiles(const std::vector<std::filesystem::path>& given,
                          const std::vector<std::filesystem::path>& data) {
  FileLists files;
  for (const std::filesystem::path& path : given) files.push_back(io::FindEvaluationFiles(path));
  if (!given.empty()) return files;
  for (const std::filesystem::path& path : data) {
    std::vector<std::filesystem::path> valid = io::FindDataFiles(path).valid;
    if (!valid.empty()) files.push_back(std::move(valid));
  }
  return files;
}

}  // namespace sophia::train
