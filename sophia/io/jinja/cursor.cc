#include "sophia/io/jinja/cursor.h"

#include "sophia/base/error.h"

namespace sophia::io::jinja {
namespace {

constexpr int kMaxNesting = 150;

std::string Describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kData:
      return "template data";
    case TokenKind::kVariableBegin:
      return "'{{'";
    case TokenKind::kVariableEnd:
      return "'}}'";
    case TokenKind::kBlockBegin:
      return "'{%'";
    case TokenKind::kBlockEnd:
      return "'%}'";
    case TokenKind::kEnd:
      return "the end of the template";
    case TokenKind::kString:
      return "a string";
    default:
      return fmt::format("'{}'", token.text);
  }
}

}  // namespace

TokenCursor::Nesting::Nesting(TokenCursor& cursor) : cursor_(cursor) {
  if (cursor_.nesting_ >= kMaxNesting) {
    cursor_.FailAt(cursor_.line(),
                   fmt::format("expected at most {} levels of nesting", kMaxNesting));
  }
  ++cursor_.nesting_;
}

bool TokenCursor::AtOperator(std::string_view text) const {
  return At(TokenKind::kOperator) && Current().text == text;
}

bool TokenCursor::AtName(std::string_view text) const {
  return At(TokenKind::kName) && Current().text == text;
}

bool TokenCursor::SkipOperator(std::string_view text) {
  if (!AtOperator(text)) return false;
  Next();
  return true;
}

bool TokenCursor::SkipName(std::string_view text) {
  if (!AtName(text)) return false;
  Next();
  return true;
}

void TokenCursor::ExpectOperator(std::string_view text) {
  if (!SkipOperator(text)) Fail(fmt::format("'{}'", text));
}

void TokenCursor::ExpectName(std::string_view text) {
  if (!SkipName(text)) Fail(fmt::format("'{}'", text));
}

void TokenCursor::Expect(TokenKind kind, std::string_view description) {
  if (!At(kind)) Fail(description);
  Next();
}

std::string TokenCursor::TakeName() {
  if (!At(TokenKind::kName)) Fail("a name");
  return Next().text;
}

void TokenCursor::Fail(std::string_view expected) const {
  FailAt(line(), fmt::format("expected {}, got {}", expected, Describe(Current())));
}

void TokenCursor::FailAt(int line, std::string_view message) const {
  throw Error(fmt::format("{}:{}", name_, line), message);
}

}  // namespace sophia::io::jinja
