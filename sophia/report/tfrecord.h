#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sophia::report {

// CRC-32C of RFC 3720, appendix B.4.
uint32_t Crc32c(std::string_view bytes);

// `data` as a record of a TFRecord file: its length, the masked CRC of the length, `data` and its
// masked CRC (https://www.tensorflow.org/tutorials/load_data/tfrecord).
std::string TfRecord(std::string_view data);

}  // namespace sophia::report
