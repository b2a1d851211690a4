#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/base/json.h"
#include "sophia/io/tensor_source.h"
#include "sophia/quant/stored_nf4.h"

// Folders whose linear layers bitsandbytes has quantised to NF4, as transformers saves them.
namespace sophia::models {

// What config.json says of it.
struct BitsandbytesConfig {
  bool is_nested;                    // scales are quantised too
  std::vector<std::string> skipped;  // modules that are not quantised: paths, their starts or ends

  bool Skips(std::string_view module) const;
};

// Removes 'quantization_config'; nullopt when there is none. Throws Error, naming `where`, for
// another way to quantise.
std::optional<BitsandbytesConfig> TakeBitsandbytesConfig(Json& config, std::string_view where);

struct BitsandbytesWeight {
  Dims dims;
  quant::StoredNf4 stored;  // of the file's bytes, valid as long as the source
};

// A weight by the name of its tensor; nullopt when it is not quantised. Throws Error for another
// type than NF4, other block sizes, and arrays that are missing or of another size.
std::optional<BitsandbytesWeight> FindBitsandbytesWeight(const io::TensorSource& source,
                                                         const std::string& name);
// Drops the pages of all its arrays.
void ReleaseBitsandbytesWeight(const io::TensorSource& source, const std::string& name);

// The tensors of a source, each quantised weight as one of storage "NF4".
std::vector<io::TensorInfo> WholeTensors(const io::TensorSource& source);

}  // namespace sophia::models
