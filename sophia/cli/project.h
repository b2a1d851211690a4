#pragma once

#include <filesystem>
#include <optional>

namespace sophia::cli {

// A file or folder of the project, such as ".deps/models", looked for beside and above the program
// and the current folder.
std::optional<std::filesystem::path> FindInProject(const std::filesystem::path& relative);

}  // namespace sophia::cli
