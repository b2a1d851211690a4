#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sophia/io/row_file.h"
#include "sophia/train/examples.h"

namespace sophia::train {

struct EncodedRow {
  Example example;     // cut to max_length
  int64_t tokens = 0;  // before it was cut
  // A conversation, a prompt or segments: something in it is not to be learnt.
  bool has_prompt = false;
};

// The files of each of the data, one list for each.
using FileLists = std::vector<std::vector<std::filesystem::path>>;

// The rows of some files, one behind the other, read and encoded when asked for; by several threads
// if need be.
class EncodedRows {
 public:
  // Throws Error for files that are missing or hold no rows.
  EncodedRows(const FileLists& data, TextEncoder encoder, int64_t max_length);

  // Some of these rows, which are numbered anew; `rows` in ascending order.
  EncodedRows Select(std::vector<size_t> rows) const;

  size_t size() const { return chosen_ ? chosen_->size() : starts_.back(); }
  // How many rows each of the data gives.
  std::vector<size_t> parts() const;
  const std::vector<io::RowFile>& files() const { return *files_; }
  const TextEncoder& encoder() const { return encoder_; }
  int64_t max_length() const { return max_length_; }
  // "a.jsonl and 2 more": the files, for errors about all of them.
  std::string Name() const;
  // The place of a row, as "a.jsonl:3".
  std::string Where(size_t row) const;
  io::Row Content(size_t row) const;
  EncodedRow Get(size_t row) const;
  // Some rows, encoded by this machine's cores. The first error in their order is thrown.
  std::vector<EncodedRow> Get(std::span<const size_t> rows) const;

 private:
  struct Place {
    const io::RowFile& file;
    size_t row;
  };
  Place At(size_t row) const;

  std::shared_ptr<const std::vector<io::RowFile>> files_;
  std::vector<size_t> starts_;                 // rows before each file, then all
  std::vector<size_t> part_starts_;            // rows before each of the data, then all
  std::optional<std::vector<size_t>> chosen_;  // nullopt: all
  TextEncoder encoder_;
  int64_t max_length_;
};

// The files of rows to train on: each path, or the train.jsonl (and so on) of a folder.
FileLists TrainFiles(const std::vector<std::filesystem::path>& data);

// The files of rows to evaluate on: each path of `given`, or the valid.jsonl (and so on) of a
// folder. Without any given, those of the folders in `data` that have some.
FileLists EvaluationFiles(const std::vector<std::filesystem::path>& given,
                          const std::vector<std::filesystem::path>& data);

}  // namespace sophia::train
