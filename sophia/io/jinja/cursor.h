#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sophia/io/jinja/lexer.h"

namespace sophia::io::jinja {

// A position in a list of tokens, with errors that name the template and the line.
class TokenCursor {
 public:
  TokenCursor(std::vector<Token> tokens, std::string_view name)
      : tokens_(std::move(tokens)), name_(name) {}

  const Token& Current() const { return tokens_[at_]; }
  const Token& Look() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  // The current token, which is left behind unless it is the last.
  const Token& Next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  int line() const { return Current().line; }

  bool At(TokenKind kind) const { return Current().kind == kind; }
  bool AtOperator(std::string_view text) const;
  bool AtName(std::string_view text) const;
  bool SkipOperator(std::string_view text);
  bool SkipName(std::string_view text);
  void ExpectOperator(std::string_view text);
  void ExpectName(std::string_view text);
  void Expect(TokenKind kind, std::string_view description);
  std::string TakeName();

  // Throw Error: "expected <expected>, got <current token>" and a whole message.
  [[noreturn]] void Fail(std::string_view expected) const;
  [[noreturn]] void FailAt(int line, std::string_view message) const;

  // Counts a level of recursion while it lives; too many are an Error.
  class Nesting {
   public:
    explicit Nesting(TokenCursor& cursor);
    ~Nesting() { --cursor_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    TokenCursor& cursor_;
  };

 private:
  std::vector<Token> tokens_;
  std::string name_;
  size_t at_ = 0;
  int nesting_ = 0;
};

}  // namespace sophia::io::jinja
