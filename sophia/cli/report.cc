#include <fmt/format.h>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/cli/commands.h"
#include "sophia/report/page.h"

namespace sophia::cli {
namespace fs = std::filesystem;

int RunReport(const Values& values) {
  const fs::path folder = values.NeedText("run");
  if (!fs::is_directory(folder)) {
    Fail(folder.string(), "expected the output folder of a run, got {}",
         fs::exists(folder) ? "a file" : "nothing there");
  }
  report::RunFiles files(folder);
  files.Refresh();
  const std::string given = values.Text("out");
  const fs::path out = given.empty() ? folder / "report.html" : fs::path(given);
  WriteFile(out, report::Page(files, false));
  fmt::print("report: {}\n", out.string());
  return 0;
}

}  // namespace sophia::cli
