#include "sophia/train/same_vocabulary.h"

#include "sophia/base/error.h"

namespace sophia::train {

void CheckSameVocabulary(const Vocabulary& model, const Vocabulary& other) {
  const auto fail = [&](const std::string& expected, const std::string& got) {
    Fail(other.files.path().string(), "expected the vocabulary of {}, {}, got {}",
         model.files.path().string(), expected, got);
  };
  if (other.ids != model.ids) {
    fail(fmt::format("{} ids", model.ids), std::to_string(other.ids));
  }
  if (!model.files.HasTokenizer() || !other.files.HasTokenizer()) return;
  const io::Tokenizer wanted = model.files.LoadTokenizer();
  const io::Tokenizer got = other.files.LoadTokenizer();
  for (int32_t id = 0; id < model.ids; ++id) {
    if (wanted.TokenText(id) == got.TokenText(id)) continue;
    fail(fmt::format("where id {} is '{}'", id, wanted.TokenText(id).value_or("no token")),
         fmt::format("'{}'", got.TokenText(id).value_or("no token")));
  }
}

}  // namespace sophia::train
