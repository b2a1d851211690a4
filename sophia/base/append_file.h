#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace sophia {

// A file that grows and can be followed. What it does not take now, as on a full disk, is kept and
// written with what comes later, so that nothing is lost or torn in between.
class AppendFile {
 public:
  // Goes on behind what is there. Throws Error when the file cannot be opened; with `must_be_new`
  // also when there is one.
  explicit AppendFile(std::filesystem::path path, bool must_be_new = false);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

  // False when not everything could be written now.
  bool Append(std::string_view bytes);
  // Throws Error when something still cannot be written.
  void Finish();

 private:
  bool Flush();

  std::filesystem::path path_;
  int fd_;
  std::string pending_;
  int error_ = 0;
};

}  // namespace sophia
