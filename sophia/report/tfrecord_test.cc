#include "sophia/report/tfrecord.h"

#include <gtest/gtest.h>

namespace sophia::report {
namespace {

// The check value of CRC-32C and the examples of RFC 3720, appendix B.4.
TEST(Crc32cTest, GivesThePublishedValues) {
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  std::string rising;
  for (char c = 0; c < 32; ++c) rising += c;
  EXPECT_EQ(Crc32c(rising), 0x46DD794Eu);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(TfRecordTest, FramesTheBytes) {
  const std::string record = TfRecord("123456789");
  EXPECT_EQ(record.size(), 8u + 4 + 9 + 4);
  EXPECT_EQ(record.substr(0, 8), std::string("\x09\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(record.substr(12, 9), "123456789");
  // (0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8 = 0xC78AB0E5
  EXPECT_EQ(record.substr(21), "\xE5\xB0\x8A\xC7");
}

}  // namespace
}  // namespace sophia::report
