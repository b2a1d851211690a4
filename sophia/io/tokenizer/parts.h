#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sophia/io/tokenizer.h"
#include "sophia/io/tokenizer/added_tokens.h"
#include "sophia/io/tokenizer/bpe.h"
#include "sophia/io/tokenizer/decoder.h"
#include "sophia/io/tokenizer/normalizer.h"
#include "sophia/io/tokenizer/pre_tokenizer.h"

namespace sophia::io::tok {

// The stages of a tokenizer, in the order in which a text passes them.
struct TokenizerParts {
  explicit TokenizerParts(Bpe model) : bpe(std::move(model)) {}

  AddedTokens added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Bpe bpe;
  std::vector<int32_t> prefix, suffix;  // around a text, with add_special_tokens
  Decoder decoder;

  std::optional<int32_t> bos_id, eos_id, pad_id, unk_id;
  std::vector<int32_t> eos_ids;
  std::optional<std::string> chat_template;

  mutable std::mutex cache_mutex;
  mutable WordCache cache;

  std::optional<int32_t> Id(std::string_view token) const;
  std::optional<std::string_view> Text(int32_t id) const;
  // Puts BOS (EOS) at the start (end) exactly if `wanted`. Throws Error when there is none to put.
  void SetAddBos(bool wanted, std::string_view where);
  void SetAddEos(bool wanted, std::string_view where);
  // Appends an id to eos_ids unless it is there.
  void AddEosId(int32_t id);
};

std::unique_ptr<TokenizerParts> PartsFromJson(std::string_view text, const TokenizerConfig& config,
                                              std::string_view where);
std::unique_ptr<TokenizerParts> PartsFromGguf(GgufTokenizerData data, std::string_view where);

// Reads the files beside tokenizer.json; missing ones count as empty.
TokenizerConfig ReadTokenizerConfig(const std::filesystem::path& folder);

}  // namespace sophia::io::tok
