#pragma once

#include <filesystem>
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

// The rows of some files, one behind the other, read and encoded when asked for; by several threads
// if need be.
class EncodedRows {
 public:
  // Throws Error for files that are missing or hold no rows.
  EncodedRows(const std::vector<std::filesystem::path>& files, TextEncoder encoder,
              int64_t max_length);

  size_t size() const { return starts_.back(); }
  const std::vector<io::RowFile>& files() const { return files_; }
  const TextEncoder& encoder() const { return encoder_; }
  int64_t max_length() const { return max_length_; }
  // "a.jsonl and 2 more": the files, for errors about all of them.
  std::string Name() const;
  // The place of a row, as "a.jsonl:3".
  std::string Where(size_t row) const;
  EncodedRow Get(size_t row) const;
  // Some rows, encoded by this machine's cores. The first error in their order is thrown.
  std::vector<EncodedRow> Get(std::span<const size_t> rows) const;

 private:
  struct Place {
    const io::RowFile& file;
    size_t row;
  };
  Place At(size_t row) const;

  std::vector<io::RowFile> files_;
  std::vector<size_t> starts_;  // rows before each file, then all
  TextEncoder encoder_;
  int64_t max_length_;
};

// The files of rows to train on: each path, or the train.jsonl of a folder.
std::vector<std::filesystem::path> TrainFiles(const std::vector<std::filesystem::path>& data);

}  // namespace sophia::train
