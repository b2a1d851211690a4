#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace sophia {

// Incremental SHA-256 (FIPS 180-4).
class Sha256 {
 public:
  Sha256();
  ~Sha256();

  void Update(std::span<const std::byte> bytes);
  void Update(std::string_view text);
  // 64 lower-case hexadecimal digits; the object takes no more input afterwards.
  std::string HexDigest();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string Sha256Hex(std::string_view text);
// Of a file's content. Throws Error when it cannot be read.
std::string Sha256OfFile(const std::filesystem::path& path);

}  // namespace sophia
