#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "sophia/base/file.h"
#include "sophia/base/json.h"
#include "sophia/base/strings.h"
#include "sophia/io/tokenizer.h"

namespace sophia::io::tokenizer_test {

// What the tokenizer's tests share: the fixtures that tools/oracle/tokenizer_fixtures.py writes.

using Ids = std::vector<int32_t>;

inline const std::filesystem::path kFixtures =
    std::filesystem::path(SOPHIA_SOURCE_DIR) / "tests" / "fixtures" / "tokenizer";

inline Json Fixture(const std::string& name) { return ReadJson(kFixtures / name); }

inline Tokenizer Load(const std::string& variant, const TokenizerConfig& config = {}) {
  const std::string name = variant + ".json";
  return Tokenizer::FromJson(ReadFile(kFixtures / name), config, name);
}

inline const std::vector<std::string>& Corpus() {
  static const std::vector<std::string> kCorpus = [] {
    std::vector<std::string> texts;
    for (const std::string& line : Split(ReadFile(kFixtures / "corpus.jsonl"), '\n')) {
      if (line.empty()) continue;
      texts.push_back(Require<std::string>(ParseJson(line, "corpus"), "text", "corpus"));
    }
    return texts;
  }();
  return kCorpus;
}

inline Ids ToIds(const Json& list) { return list.get<Ids>(); }

inline std::string Stream(const Tokenizer& tokenizer, const Ids& ids,
                          const DecodeOptions& options) {
  StreamDecoder stream(tokenizer, options);
  std::string text;
  for (const int32_t id : ids) text += stream.Push(id);
  return text + stream.Finish();
}

}  // namespace sophia::io::tokenizer_test
