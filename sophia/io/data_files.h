#pragma once

#include <filesystem>
#include <vector>

namespace sophia::io {

// The files of a folder that train and check a model, as mlx-lm, datasets and the Hugging Face hub
// name them: train.jsonl (or .json, .parquet), or train-00000-of-00002.parquet and its siblings;
// valid or validation likewise. They lie in the folder or in its folder `data`.
struct DataFiles {
  std::vector<std::filesystem::path> train;
  std::vector<std::filesystem::path> valid;  // empty: the folder has none
};

// A file stands for itself. Throws Error for a folder without rows to train on, and for one that
// lacks some of the files that belong together.
DataFiles FindDataFiles(const std::filesystem::path& path);

// The file itself, or a folder's valid.jsonl and so on. Throws Error for a folder without.
std::vector<std::filesystem::path> FindEvaluationFiles(const std::filesystem::path& path);

}  // namespace sophia::io
