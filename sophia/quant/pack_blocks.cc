#include <cstring>

#include "sophia/base/error.h"
#include "sophia/quant/packed_format.h"
#include "sophia/quant/store.h"

namespace sophia::quant {
namespace {

// A block's codes, one a byte. Of its nibbles, element i is in the low half of byte i and element
// i + group / 2 in its high half.
void SpreadCodes(const PackedFormat& format, const uint8_t* bytes, uint8_t* out) {
  if (!format.has_nibbles()) {
    std::memcpy(out, bytes, static_cast<size_t>(format.group));
    return;
  }
  const int64_t half = format.group / 2;
  for (int64_t i = 0; i < half; ++i) {
    out[i] = bytes[i] & 15;
    out[i + half] = bytes[i] >> 4;
  }
}

}  // namespace

void PackBlocks(const PackedFormat& format, const Dims& dims, std::span<const std::byte> blocks,
                PartBytes out, std::string_view where) {
  SOPHIA_CHECK(format.block_bytes > 0 && out.size() == format.parts.size(), "blocks of {}",
               format.name);
  CheckCanPack(format, dims, where);
  const int64_t count = Product(dims) / format.group;
  if (static_cast<int64_t>(blocks.size()) != count * format.block_bytes) {
    Fail(where, "expected {} bytes of {}, got {}", count * format.block_bytes, format.name,
         blocks.size());
  }
  std::vector<uint8_t> codes(static_cast<size_t>(Product(dims)));
  std::vector<uint16_t> halves(static_cast<size_t>(count));
  for (size_t part = 0; part < format.parts.size(); ++part) {
    const PackedPart& spec = format.parts[part];
    const std::byte* from = blocks.data() + spec.offset;
    for (int64_t i = 0; i < count; ++i, from += format.block_bytes) {
      if (spec.kind == PartKind::kCodes) {
        SpreadCodes(format, reinterpret_cast<const uint8_t*>(from),
                    codes.data() + i * format.group);
      } else {
        std::memcpy(&halves[static_cast<size_t>(i)], from, sizeof(uint16_t));
      }
    }
    if (spec.kind == PartKind::kCodes) {
      StoreCodes(format, dims, codes, out[part]);
    } else {
      StoreTransposed(dims[0], dims[1] / format.group, halves.data(),
                      reinterpret_cast<uint16_t*>(out[part].data()));
    }
  }
}

}  // namespace sophia::quant
