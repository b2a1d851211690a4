#include "sophia/io/tokenizer/byte_level.h"

#include "sophia/io/tokenizer/utf8.h"

namespace sophia::io::tok {
namespace {

constexpr char32_t kFirstSubstitute = 256;

bool StandsForItself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<int, 512> bytes;  // by code point; -1 where it stands for none

  Alphabet() {
    bytes.fill(-1);
    char32_t next = kFirstSubstitute;
    for (int byte = 0; byte < 256; ++byte) {
      const char32_t value = StandsForItself(byte) ? static_cast<char32_t>(byte) : next++;
      AppendUtf8(characters[byte], value);
      bytes[value] = byte;
    }
  }
};

const Alphabet& GetAlphabet() {
  static const Alphabet kAlphabet;
  return kAlphabet;
}

}  // namespace

const std::array<std::string, 256>& ByteAlphabet() { return GetAlphabet().characters; }

std::optional<std::string> BytesOfAlphabet(std::string_view text) {
  const auto& bytes = GetAlphabet().bytes;
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = CodePointAt(text, at);
    if (point.value >= bytes.size() || bytes[point.value] < 0) return std::nullopt;
    out.push_back(static_cast<char>(bytes[point.value]));
    at += point.size;
  }
  return out;
}

}  // namespace sophia::io::tok
