#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sophia/io/jinja/ast.h"
#include "sophia/io/jinja/cursor.h"

namespace sophia::io::jinja {

// Reads expressions by recursive descent; the statement parser builds on it.
class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, std::string_view name)
      : cursor_(std::move(tokens), name) {}

 protected:
  // A whole expression; without `conditional` it stops before an `if`.
  ExprPtr ParseExpression(bool conditional = true);
  // An expression or, with commas, a tuple. Outside parentheses it must not be empty.
  ExprPtr ParseTuple(bool conditional, bool in_parentheses = false);
  // `| name(...)` any number of times on `input`; `started` when the first `|` is not written.
  ExprPtr ParseFilters(ExprPtr input, bool started);
  // What stands left of `=` or `in`.
  Target ParseTarget(bool with_namespace);

  TokenCursor cursor_;
  // Names read in expressions since the vector was cleared; macros look here for `caller`.
  std::vector<std::string> names_read_;
  // Unknown filters and tests, with their lines. Those in conditions fail only when reached, and
  // are taken out again.
  std::vector<std::pair<int, std::string>> unknown_;

 private:
  ExprPtr Make(int line, ExprNode node);

  ExprPtr ParseConditional();
  ExprPtr ParseOr();
  ExprPtr ParseAnd();
  ExprPtr ParseNot();
  ExprPtr ParseComparison();
  ExprPtr ParseSum();
  ExprPtr ParseConcat();
  ExprPtr ParseProduct();
  ExprPtr ParsePower();
  ExprPtr ParseUnary(bool with_filters);
  ExprPtr ParsePrimary();
  ExprPtr ParseName();
  ExprPtr ParseString();
  ExprPtr ParseList();
  ExprPtr ParseDict();
  ExprPtr ParsePostfix(ExprPtr node);
  ExprPtr ParseFiltersAndTests(ExprPtr node);
  ExprPtr ParseTest(ExprPtr node);
  ExprPtr ParseSubscript(ExprPtr node);
  ExprPtr ParseSubscriptPart();
  CallArguments ParseArguments();
  std::string ParseDottedName();
  Target ParseTargetItem(bool with_namespace);
  bool AtTupleEnd() const;
};

}  // namespace sophia::io::jinja
