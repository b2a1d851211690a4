#include "sophia/train/marked_text.h"

#include <fmt/format.h>

#include "sophia/nn/loss.h"

namespace sophia::train {
namespace {

std::string Visible(const std::string& text) {
  std::string visible;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_control = (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f;
    visible += is_control ? fmt::format("\\x{:02x}", byte) : std::string(1, c);
  }
  return visible;
}

}  // namespace

std::string MarkedText(const Example& example, const TextEncoder& encoder, const Marks& marks) {
  std::optional<io::StreamDecoder> decoder;
  if (encoder.tokenizer) decoder.emplace(*encoder.tokenizer);
  std::string text;
  bool inside = false;
  for (size_t i = 0; i < example.ids.size(); ++i) {
    const bool trained = i > 0 && example.labels[i] != nn::kIgnoredLabel;
    if (inside && !trained) text += marks.end;
    if (!decoder && i > 0) text += ' ';
    if (!inside && trained) text += marks.begin;
    inside = trained;
    text += decoder ? Visible(decoder->Push(example.ids[i])) : fmt::format("{}", example.ids[i]);
  }
  if (decoder) text += Visible(decoder->Finish());
  return inside ? text + marks.end : text;
}

}  // namespace sophia::train
