#include "sophia/train/examples.h"

#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/nn/loss.h"

namespace sophia::train {
namespace {

using io::ChatRow;
using io::PromptCompletionRow;
using io::SegmentsRow;
using io::TextRow;
using io::TokensRow;
using nn::kIgnoredLabel;

const io::Tokenizer& NeedTokenizer(const TextEncoder& encoder, std::string_view where) {
  if (!encoder.tokenizer) {
    Fail(where,
         "expected a model with a tokenizer, or pre-tokenised rows (input_ids), got neither");
  }
  return *encoder.tokenizer;
}

// Bytes of a text or positions of a row, without `end`.
struct Stretch {
  size_t begin;
  size_t end;
  // Of a text: learnt up to the last end of sequence only, as nothing is ever generated after it.
  bool is_turn = false;
};

// Labels the tokens in which a byte of the stretch lies.
void Learn(const Stretch& stretch, const std::vector<io::Token>& tokens,
           const io::Tokenizer& tokenizer, Example& example) {
  std::vector<size_t> inside;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].begin < stretch.end && tokens[i].end > stretch.begin) inside.push_back(i);
  }
  if (stretch.is_turn) {
    const std::vector<int32_t>& ends = tokenizer.eos_ids();
    const auto last = std::find_if(inside.rbegin(), inside.rend(), [&](size_t i) {
      return std::find(ends.begin(), ends.end(), tokens[i].id) != ends.end();
    });
    if (last != inside.rend()) inside.erase(last.base(), inside.end());
  }
  for (const size_t i : inside) example.labels[i] = tokens[i].id;
}

// Encodes the text in one piece, as other training tools do: what is learnt does not change its
// tokens.
Example EncodeStretches(std::string_view text, const std::vector<Stretch>& stretches,
                        const io::Tokenizer& tokenizer, const io::EncodeOptions& options) {
  const std::vector<io::Token> tokens = tokenizer.EncodeWithOffsets(text, options);
  Example example;
  for (const io::Token& token : tokens) example.ids.push_back(token.id);
  example.labels.assign(tokens.size(), kIgnoredLabel);
  for (const Stretch& stretch : stretches) Learn(stretch, tokens, tokenizer, example);
  return example;
}

// Makes one learnt end of sequence the last token, whether the text or the tokenizer put it there
// or neither.
void EndWithEos(const io::Tokenizer& tokenizer, Example& example) {
  if (!tokenizer.eos_id()) return;
  const int32_t eos = *tokenizer.eos_id();
  while (!example.ids.empty() && example.ids.back() == eos) {
    example.ids.pop_back();
    example.labels.pop_back();
  }
  example.ids.push_back(eos);
  example.labels.push_back(eos);
}

std::string RenderPrefix(const io::ChatTemplate& chat_template, const Json& messages, size_t count,
                         const Json& tools, bool prompt) {
  Json prefix = Json::array();
  for (size_t i = 0; i < count; ++i) prefix.push_back(messages[i]);
  return chat_template.Render(prefix, {.tools = tools, .add_generation_prompt = prompt});
}

// What the template marks in the rendered conversation `whole` from message `first` on.
std::vector<Stretch> MarkedTurns(const io::RenderedChat& whole, const Json& messages,
                                 const Json& tools, size_t first,
                                 const io::ChatTemplate& chat_template, std::string_view where) {
  size_t start = 0;
  if (first > 0) {
    const std::string prompt = RenderPrefix(chat_template, messages, first, tools, true);
    if (!whole.text.starts_with(prompt)) {
      Fail(where,
           "expected a chat template whose prompt is a prefix of the whole conversation, got "
           "one that renders the prompt differently");
    }
    start = prompt.size();
  }
  std::vector<Stretch> turns;
  for (const auto& [begin, end] : whole.generations) {
    if (end > std::max(begin, start)) turns.push_back({std::max(begin, start), end});
  }
  return turns;
}

struct Turns {
  std::vector<Stretch> found;
  int64_t missing = 0;
};

// Finds the assistant's turns from message `first` on in the rendered conversation `whole`.
Turns FindTurns(std::string_view whole, const Json& messages, const Json& tools, size_t first,
                const io::ChatTemplate& chat_template, std::string_view where) {
  Turns turns;
  size_t done = 0;
  bool last_is_found = true;
  for (size_t i = first; i < messages.size(); ++i) {
    if (messages[i].value("role", "") != "assistant" || i == 0) continue;
    const std::string before = RenderPrefix(chat_template, messages, i, tools, true);
    const std::string after = RenderPrefix(chat_template, messages, i + 1, tools, false);
    // Some templates render earlier turns differently once later ones follow; these cannot be
    // found.
    last_is_found = whole.starts_with(before) && whole.starts_with(after) &&
                    before.size() >= done && after.size() >= before.size();
    if (!last_is_found) {
      ++turns.missing;
      continue;
    }
    turns.found.push_back({before.size(), after.size(), true});
    done = after.size();
  }
  if (!last_is_found) {
    Fail(where,
         "expected a chat template whose prompt is a prefix of the whole conversation, got "
         "one that renders the last assistant turn differently");
  }
  return turns;
}

Example EncodeChat(const Json& messages, const Json& tools, size_t first,
                   const TextEncoder& encoder, std::string_view where) {
  if (!encoder.chat_template) {
    Fail(where, "expected a model with a chat template for conversations, got none");
  }
  const io::ChatTemplate& chat_template = *encoder.chat_template;
  const io::Tokenizer& tokenizer = NeedTokenizer(encoder, where);
  const io::RenderedChat whole = chat_template.RenderMarked(messages, {.tools = tools});
  if (chat_template.marks_generations()) {
    return EncodeStretches(whole.text,
                           MarkedTurns(whole, messages, tools, first, chat_template, where),
                           tokenizer, {});
  }
  const Turns turns = FindTurns(whole.text, messages, tools, first, chat_template, where);
  Example example = EncodeStretches(whole.text, turns.found, tokenizer, {});
  example.unlearnt_turns = turns.missing;
  return example;
}

Example EncodeText(const TextRow& row, const io::Tokenizer& tokenizer) {
  Example example = EncodeStretches(row.text, {}, tokenizer, {.add_special_tokens = true});
  example.labels = example.ids;
  EndWithEos(tokenizer, example);
  return example;
}

Example EncodePromptCompletion(const PromptCompletionRow& row, const TextEncoder& encoder,
                               std::string_view where) {
  if (row.prompt.is_array()) {
    Json messages = row.prompt;
    for (const Json& message : row.completion) messages.push_back(message);
    return EncodeChat(messages, row.tools, row.prompt.size(), encoder, where);
  }
  const io::Tokenizer& tokenizer = NeedTokenizer(encoder, where);
  const auto prompt = row.prompt.get<std::string>();
  const std::string whole = prompt + row.completion.get<std::string>();
  Example example = EncodeStretches(whole, {{prompt.size(), whole.size()}}, tokenizer,
                                    {.add_special_tokens = true});
  EndWithEos(tokenizer, example);
  return example;
}

// The positions that the mask keeps: all if there is none. Padding lies at the ends; a model
// without that mask would attend to a hole.
Stretch KeptPositions(const TokensRow& row, std::string_view where) {
  const std::vector<int64_t>& mask = row.attention_mask;
  if (mask.empty()) return {0, row.input_ids.size()};
  const auto begin = std::find(mask.begin(), mask.end(), 1);
  const auto end = std::find(begin, mask.end(), 0);
  const auto again = std::find(end, mask.end(), 1);
  if (again != mask.end()) {
    Fail(where, "expected an attention_mask with one run of 1, got 0 at position {} and 1 at {}",
         end - mask.begin(), again - mask.begin());
  }
  return {static_cast<size_t>(begin - mask.begin()), static_cast<size_t>(end - mask.begin())};
}

Example FromTokens(const TokensRow& row, int64_t vocab, std::string_view where) {
  Example example;
  const Stretch kept = KeptPositions(row, where);
  for (size_t i = kept.begin; i < kept.end; ++i) {
    const int64_t id = row.input_ids[i];
    if (id < 0 || id >= vocab) {
      Fail(where, "expected token ids from 0 to {}, got {}", vocab - 1, id);
    }
    const int64_t label = row.labels.empty() ? id : row.labels[i];
    if (label != kIgnoredLabel && (label < 0 || label >= vocab)) {
      Fail(where, "expected labels from 0 to {}, or {}, got {}", vocab - 1, kIgnoredLabel, label);
    }
    example.ids.push_back(static_cast<int32_t>(id));
    example.labels.push_back(static_cast<int32_t>(label));
  }
  return example;
}

Example EncodeSegments(const SegmentsRow& row, const io::Tokenizer& tokenizer) {
  std::string text;
  std::vector<Stretch> learnt;
  for (const SegmentsRow::Segment& segment : row.segments) {
    if (segment.learnt) learnt.push_back({text.size(), text.size() + segment.text.size()});
    text += segment.text;
  }
  return EncodeStretches(text, learnt, tokenizer, {});
}

}  // namespace

TextEncoder TextEncoder::ForTokenizer(io::Tokenizer tokenizer, int64_t vocab) {
  TextEncoder encoder;
  encoder.vocab = vocab;
  if (tokenizer.chat_template()) {
    std::map<std::string, std::string> specials;
    const auto add = [&](const char* name, std::optional<int32_t> id) {
      if (id) specials[name] = tokenizer.TokenText(*id).value_or("");
    };
    add("bos_token", tokenizer.bos_id());
    add("eos_token", tokenizer.eos_id());
    add("pad_token", tokenizer.pad_id());
    add("unk_token", tokenizer.unk_id());
    encoder.chat_template.emplace(*tokenizer.chat_template(), std::move(specials));
  }
  encoder.tokenizer = std::move(tokenizer);
  return encoder;
}

Example EncodeRow(const io::Row& row, const TextEncoder& encoder, std::string_view where) {
  if (const auto* tokens = std::get_if<TokensRow>(&row)) {
    return FromTokens(*tokens, encoder.vocab, where);
  }
  if (const auto* chat = std::get_if<ChatRow>(&row)) {
    return EncodeChat(chat->messages, chat->tools, 0, encoder, where);
  }
  if (const auto* pair = std::get_if<PromptCompletionRow>(&row)) {
    return EncodePromptCompletion(*pair, encoder, where);
  }
  if (const auto* segments = std::get_if<SegmentsRow>(&row)) {
    return EncodeSegments(*segments, NeedTokenizer(encoder, where));
  }
  return EncodeText(std::get<TextRow>(row), NeedTokenizer(encoder, where));
}

int64_t TrainedTokens(const Example& example) {
  if (example.labels.empty()) return 0;
  return std::count_if(example.labels.begin() + 1, example.labels.end(),
                       [](int32_t label) { return label != kIgnoredLabel; });
}

}  // namespace sophia::train
