#include "sophia/cli/project.h"

namespace sophia::cli {
namespace fs = std::filesystem;

std::optional<fs::path> FindInProject(const fs::path& relative) {
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (fs::path folder : {program, fs::current_path(ignored)}) {
    for (; folder.has_relative_path(); folder = folder.parent_path()) {
      if (fs::exists(folder / relative, ignored)) return folder / relative;
    }
  }
  return std::nullopt;
}

}  // namespace sophia::cli
