#include "sophia/io/tokenizer/aligned_text.h"

#include <limits>
#include <utility>

#include "sophia/base/error.h"
#include "sophia/io/tokenizer/utf8.h"

namespace sophia::io::tok {

AlignedText::AlignedText(std::string text) : text_(std::move(text)) {
  if (text_.size() > std::numeric_limits<uint32_t>::max()) {
    Fail("tokenizer", "expected a text of less than 4 GiB, got {} bytes", text_.size());
  }
  origins_.reserve(text_.size());
  for (size_t at = 0; at < text_.size();) {
    const size_t size = CodePointAt(text_, at).size;
    origins_.insert(origins_.end(), size,
                    {static_cast<uint32_t>(at), static_cast<uint32_t>(at + size)});
    at += size;
  }
}

void AlignedText::Append(const AlignedView& view) {
  text_.append(view.text);
  origins_.insert(origins_.end(), view.origins.begin(), view.origins.end());
}

void AlignedText::Append(std::string_view text, Origin origin) {
  text_.append(text);
  origins_.insert(origins_.end(), text.size(), origin);
}

void AlignedText::Prepend(std::string_view prefix) {
  if (text_.empty()) return;
  text_.insert(0, prefix);
  origins_.insert(origins_.begin(), prefix.size(), Origin(origins_.front()));
}

void AlignedText::Keep(size_t begin, size_t end) {
  text_ = text_.substr(begin, end - begin);
  origins_ = std::vector<Origin>(origins_.begin() + static_cast<std::ptrdiff_t>(begin),
                                 origins_.begin() + static_cast<std::ptrdiff_t>(end));
}

void AlignedText::Replace(const std::vector<Span>& matches, std::string_view content) {
  if (matches.empty() || text_.empty()) return;
  AlignedText out;
  size_t done = 0;
  for (const Span& match : matches) {
    out.Append(view().Part(done, match.begin));
    const uint32_t start = origins_.front().begin;
    out.Append(content, match.end == 0 ? Origin{start, start} : origins_[match.end - 1]);
    done = match.end;
  }
  out.Append(view().Part(done, text_.size()));
  *this = std::move(out);
}

}  // namespace sophia::io::tok
