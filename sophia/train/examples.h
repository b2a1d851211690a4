#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sophia/io/chat_template.h"
#include "sophia/io/rows.h"
#include "sophia/io/tokenizer.h"

namespace sophia::train {

// One training sequence. labels[i] is ids[i], or nn::kIgnoredLabel where the position is not
// learnt.
struct Example {
  std::vector<int32_t> ids;
  std::vector<int32_t> labels;
  // Earlier assistant turns that the rendered conversation does not show as they were answered.
  int64_t unlearnt_turns = 0;
};

// What turns rows into token ids. Pre-tokenised rows need neither part.
struct TextEncoder {
  std::optional<io::Tokenizer> tokenizer;
  std::optional<io::ChatTemplate> chat_template;
  int64_t vocab = 0;  // ids must lie below

  // Tokenizer and template of a model; their absence is an Error only when a row needs them.
  static TextEncoder ForTokenizer(io::Tokenizer tokenizer, int64_t vocab);
};

// Chats learn what the template marks with {% generation %}, as transformers'
// return_assistant_tokens_mask; with a template that has no such tags, the assistant's turns, found
// by rendering ever longer prefixes of the conversation, up to their end of sequence.
// Prompt/completion rows learn the completion, segments those labelled; texts and pre-tokenised
// rows without labels learn everything. A conversation, a prompt with its completion, or the
// segments of a row are encoded as one text; a token that straddles a border is learnt when any
// character in it is. Positions that an attention_mask leaves out at the ends are dropped. `where`
// names the row in errors.
Example EncodeRow(const io::Row& row, const TextEncoder& encoder, std::string_view where);

// Tokens that a step learns from: labels but for the first, which no position before it predicts.
int64_t TrainedTokens(const Example& example);

}  // namespace sophia::train
