#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "sophia/base/file.h"

namespace sophia {

// A file without a name in the system's temporary folder ($TMPDIR, else /tmp): its space is free
// again when it is closed, however the process ends.
class UnnamedFile {
 public:
  // `purpose` is what errors call it. Throws Error for a folder that cannot be written to.
  explicit UnnamedFile(std::string purpose);
  ~UnnamedFile();
  UnnamedFile(const UnnamedFile&) = delete;
  UnnamedFile& operator=(const UnnamedFile&) = delete;

  size_t size() const { return size_; }
  // Throws Error when it cannot be written, as on a full disk.
  void Append(std::string_view text);
  // What was appended, to be read; ends the writing. Throws Error as Append does.
  RandomAccessFile Finish();

 private:
  void Flush();

  std::string purpose_;
  std::filesystem::path folder_;
  int fd_ = -1;
  size_t size_ = 0;
  std::string pending_;
};

}  // namespace sophia
