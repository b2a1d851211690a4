#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sophia::io {

class GgufMetadata;

namespace tok {
struct TokenizerParts;
}

// What a model folder says about its tokenizer outside tokenizer.json.
struct TokenizerConfig {
  std::optional<std::string> bos_token, eos_token, pad_token, unk_token;
  std::optional<bool> add_bos_token, add_eos_token;  // override tokenizer.json's post-processor
  std::vector<int64_t> eos_token_ids;                // further ids that end a generation
  std::optional<std::string> chat_template;
};

// The tokenizer.* metadata of a GGUF file.
struct GgufTokenizerData {
  std::string model;                // tokenizer.ggml.model: "gpt2" (BPE) or "llama" (SentencePiece)
  std::string pre;                  // tokenizer.ggml.pre; empty reads as "default"
  std::vector<std::string> tokens;  // index = id
  std::vector<float> scores;        // by id; needed by "llama"
  std::vector<int32_t> token_types;  // by id; may be empty
  std::vector<std::string> merges;   // "left right"; needed by "gpt2"
  std::optional<int64_t> bos_token_id, eos_token_id, eot_token_id, padding_token_id,
      unknown_token_id;
  std::optional<bool> add_bos_token, add_eos_token, add_space_prefix;
  std::optional<std::string> chat_template;
};

// Throws Error when a key has another type than GGUF gives it or the file has no tokenizer.
GgufTokenizerData ReadGgufTokenizer(const GgufMetadata& metadata);

struct EncodeOptions {
  bool add_special_tokens = false;  // put BOS and EOS where the tokenizer says so
  bool parse_special = true;        // "<|im_end|>" in the text is a token, not plain text
};

struct DecodeOptions {
  bool skip_special_tokens = false;
};

// A token and the bytes [begin, end) of the text that it stands for, whole characters each: tokens
// that share a character overlap. BOS and EOS that encoding adds stand for none (begin = end = 0).
struct Token {
  int32_t id;
  uint32_t begin;
  uint32_t end;
};

// Byte-pair-encoding tokenizer of published checkpoints, equal to the `tokenizers` library in ids
// and decoded text. Cheap to copy (shares its tables); all methods are safe to call from several
// threads.
class Tokenizer {
 public:
  // Reads tokenizer.json and, where present, tokenizer_config.json, special_tokens_map.json,
  // generation_config.json and chat_template.jinja. Throws Error on a missing or malformed file and
  // on any component that is not supported, naming it.
  static Tokenizer FromFolder(const std::filesystem::path& folder);

  // From the text of tokenizer.json; `where` names it in errors.
  static Tokenizer FromJson(std::string_view text, const TokenizerConfig& config,
                            std::string_view where);

  static Tokenizer FromGguf(GgufTokenizerData data, std::string_view where);

  // Invalid UTF-8 in `text` is read as U+FFFD.
  std::vector<int32_t> Encode(std::string_view text, const EncodeOptions& options = {}) const;

  // The same with the place of each token; in a text with invalid UTF-8, after it is replaced.
  // Equal to the offsets of `tokenizers` without a post-processor that trims them.
  std::vector<Token> EncodeWithOffsets(std::string_view text,
                                       const EncodeOptions& options = {}) const;

  // Always valid UTF-8. Ids that name no token (padding of the embedding) give no text.
  std::string Decode(std::span<const int32_t> ids, const DecodeOptions& options = {}) const;

  // Largest id + 1: the rows that an embedding needs.
  int32_t vocab_size() const;

  // The token as the vocabulary spells it ("Ġthe").
  std::optional<std::string> TokenText(int32_t id) const;

  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  std::optional<int32_t> pad_id() const;
  std::optional<int32_t> unk_id() const;
  // Every id that ends a generation, eos_id() first; empty when none is known.
  const std::vector<int32_t>& eos_ids() const;
  // Whether add_special_tokens puts BOS before a text.
  bool adds_bos() const;
  const std::optional<std::string>& chat_template() const;

 private:
  explicit Tokenizer(std::shared_ptr<const tok::TokenizerParts> parts);

  std::shared_ptr<const tok::TokenizerParts> parts_;
};

// Decodes a stream of ids, holding back text whose last character is not complete yet.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, const DecodeOptions& options = {});

  // The text that `id` completes; may be empty.
  std::string Push(int32_t id);
  // What is held back, malformed or not. The decoder starts anew afterwards.
  std::string Finish();

 private:
  std::string Emit(const std::string& text);

  Tokenizer tokenizer_;
  DecodeOptions options_;
  std::vector<int32_t> ids_;  // window: `shown_` ids whose text is out, then those held back
  size_t shown_ = 0;
  std::string shown_text_;  // the shown ids decoded alone
};

}  // namespace sophia::io
