#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "sophia/base/json.h"
#include "sophia/io/gguf.h"

namespace sophia::models {

// The metadata of a GGUF file of architecture "llama" as config.json keys. Throws Error when it
// says what those cannot express.
Json LlamaConfigFromGguf(const io::GgufFile& file);

// "model.layers.3.self_attn.q_proj.weight" -> "blk.3.attn_q.weight". Throws Error for other names.
std::string LlamaGgufName(std::string_view path);

// Heads whose rows a GGUF file keeps in pairs; nothing for tensors other than q's and k's. `path`:
// the tensor's name in published checkpoints.
std::optional<int64_t> PairedHeads(const Json& config, std::string_view path,
                                   std::string_view where);

// GGUF files keep the rows of q and k in pairs (i, i + head_dim/2) beside each other; this puts
// them back in place. `rows`: heads * head_dim rows of `row_bytes` each.
void UnpairRows(std::span<std::byte> rows, int64_t heads, size_t row_bytes);
// The way back: rows as a GGUF file keeps them.
void PairRows(std::span<std::byte> rows, int64_t heads, size_t row_bytes);

}  // namespace sophia::models
