#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sophia/io/jinja/value.h"

namespace sophia::io::jinja {

enum class TokenKind {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind;
  std::string text;  // template data, name, operator or the unescaped string
  int line;
  Value number;  // of kInteger and kFloat
};

// Cuts a template into tokens as jinja2 does with trim_blocks and lstrip_blocks on: white space
// control is applied, comments are dropped, raw blocks become data. Ends with kEnd.
// Throws Error naming `name` and the line.
std::vector<Token> Tokenize(std::string_view source, std::string_view name);

}  // namespace sophia::io::jinja
