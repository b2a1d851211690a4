#include "sophia/io/tokenizer/gguf_pre.h"

#include <string>
#include <utility>
#include <vector>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/io/tokenizer/byte_level.h"

namespace sophia::io::tok {
namespace {

enum class Family : uint8_t {
  kGpt2,
  kDigits,
  kLlama3,
  kQwen2,
  kGpt4o,
  kTekken,
  kDeepSeekCoder,
  kDeepSeek3,
  kDefault,
};

struct Row {
  std::string_view name;
  Family family;
  bool ignore_merges = false;
  bool adds_bos = false;
  bool nfc = false;
};

// Names that converters write, by the published tokenizers they stand for.
constexpr Row kRows[] = {
    {"default", Family::kDefault},
    {"gpt-2", Family::kGpt2},
    {"phi-2", Family::kGpt2},
    {"mpt", Family::kGpt2},
    {"olmo", Family::kGpt2},
    {"smollm", Family::kDigits},
    {"starcoder", Family::kDigits},
    {"refact", Family::kDigits},
    {"command-r", Family::kDigits},
    {"codeshell", Family::kDigits},
    {"llama-bpe", Family::kLlama3, true, true},
    {"llama3", Family::kLlama3, true, true},
    {"llama-v3", Family::kLlama3, true, true},
    {"falcon3", Family::kLlama3, true, true},
    {"dbrx", Family::kLlama3},
    {"smaug-bpe", Family::kLlama3},
    {"qwen2", Family::kQwen2, false, false, true},
    {"deepseek-r1-qwen", Family::kQwen2},
    {"stablelm2", Family::kQwen2},
    {"gpt-4o", Family::kGpt4o},
    {"tekken", Family::kTekken, true, true},
    {"deepseek-coder", Family::kDeepSeekCoder},
    {"deepseek-v3", Family::kDeepSeek3},
};

constexpr const char* kContractions = R"((?i:'s|'t|'re|'ve|'m|'ll|'d))";
constexpr const char* kSpaces = R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kUpperThenLower =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)";
constexpr const char* kUppers =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)";

// Words with at most one leading symbol, numbers of up to `digits`, symbols with their line breaks.
std::string WordsPattern(std::string_view digits) {
  return fmt::format(R"({}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*{})",
                     kContractions, digits, kSpaces);
}

// As WordsPattern, but words also end where capitals follow small letters.
std::string CasedPattern(std::string_view ending, std::string_view digits) {
  return fmt::format(R"({}{}|{}{}|{}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*{})", kUpperThenLower, ending,
                     kUppers, ending, digits, kSpaces);
}

std::vector<std::string> Patterns(Family family) {
  const std::string gpt2(kGpt2Pattern);
  switch (family) {
    case Family::kGpt2:
      return {gpt2};
    case Family::kDigits:
      return {R"(\p{N})", gpt2};
    case Family::kLlama3:
      return {WordsPattern(R"(\p{N}{1,3})")};
    case Family::kQwen2:
      return {WordsPattern(R"(\p{N})")};
    case Family::kGpt4o:
      return {CasedPattern(std::string(kContractions) + "?", R"(\p{N}{1,3})")};
    case Family::kTekken:
      return {CasedPattern("", R"(\p{N})")};
    case Family::kDeepSeekCoder:
      return {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-퟿]+", R"(\p{N})"};
    case Family::kDeepSeek3:
      return {
          R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+",
          R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
          R"(| ?[\p{P}\p{S}]+[\r\n]*)" +
              std::string(kSpaces)};
    case Family::kDefault:
      return {R"([\p{P}\$\+<=>\^~\|]+)", gpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"};
  }
  return {};
}

const Row& FindRow(std::string_view name, std::string_view where) {
  std::vector<std::string> names;
  for (const Row& row : kRows) {
    names.emplace_back(row.name);
    if (row.name == name) return row;
  }
  Fail(where, "expected tokenizer.ggml.pre to be one of {}; got '{}'{}", Join(names, ", "), name,
       DidYouMean(name, names));
}

}  // namespace

GgufPreRules FindGgufPreRules(std::string_view name, std::string_view where) {
  const Row& row = FindRow(name, where);
  return {.patterns = Patterns(row.family),
          .nfc = row.nfc,
          .ignore_merges = row.ignore_merges,
          .adds_bos = row.adds_bos};
}

std::optional<std::string_view> GgufPreName(const std::vector<std::string>& patterns,
                                            bool ignore_merges, bool nfc) {
  for (const Row& row : kRows) {
    if (row.ignore_merges == ignore_merges && row.nfc == nfc && Patterns(row.family) == patterns) {
      return row.name;
    }
  }
  return std::nullopt;
}

GgufPre FindGgufPre(std::string_view name, std::string_view where) {
  const GgufPreRules rules = FindGgufPreRules(name, where);
  std::vector<PreTokenizer> steps;
  for (const std::string& pattern : rules.patterns) {
    steps.push_back(SplitPreTokenizer(pattern, where));
  }
  steps.push_back(ByteLevelPreTokenizer(false, false));
  return {.normalizer = rules.nfc ? NfcNormalizer() : Normalizer(),
          .pre_tokenizer = PreTokenizerSequence(std::move(steps)),
          .ignore_merges = rules.ignore_merges,
          .adds_bos = rules.adds_bos};
}

}  // namespace sophia::io::tok
