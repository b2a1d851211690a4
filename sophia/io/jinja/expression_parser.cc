#include "sophia/io/jinja/expression_parser.h"

#include <algorithm>
#include <array>

namespace sophia::io::jinja {
namespace {

constexpr int kMaxDepth = 300;

constexpr std::array<std::pair<std::string_view, CompareOp>, 6> kComparisons = {{
    {"==", CompareOp::kEqual},
    {"!=", CompareOp::kNotEqual},
    {"<", CompareOp::kLess},
    {"<=", CompareOp::kLessEqual},
    {">", CompareOp::kGreater},
    {">=", CompareOp::kGreaterEqual},
}};

constexpr std::array<std::pair<std::string_view, BinaryOp>, 4> kProducts = {{
    {"*", BinaryOp::kMultiply},
    {"/", BinaryOp::kDivide},
    {"//", BinaryOp::kFloorDivide},
    {"%", BinaryOp::kModulo},
}};

}  // namespace

ExprPtr ExpressionParser::Make(int line, ExprNode node) {
  ExprPtr expr = MakeExpr(line, std::move(node));
  if (expr->depth > kMaxDepth) {
    cursor_.FailAt(line, fmt::format("expected an expression at most {} levels deep", kMaxDepth));
  }
  return expr;
}

ExprPtr ExpressionParser::ParseExpression(bool conditional) {
  return conditional ? ParseConditional() : ParseOr();
}

ExprPtr ExpressionParser::ParseConditional() {
  const TokenCursor::Nesting nesting(cursor_);
  int line = cursor_.line();
  const size_t unknown = unknown_.size();
  ExprPtr then = ParseOr();
  while (cursor_.SkipName("if")) {
    ExprPtr condition = ParseOr();
    ExprPtr otherwise = cursor_.SkipName("else") ? ParseConditional() : nullptr;
    unknown_.resize(unknown);
    then = Make(line, Conditional{std::move(condition), std::move(then), std::move(otherwise)});
    line = cursor_.line();
  }
  return then;
}

ExprPtr ExpressionParser::ParseOr() {
  int line = cursor_.line();
  ExprPtr left = ParseAnd();
  while (cursor_.SkipName("or")) {
    ExprPtr right = ParseAnd();
    left = Make(line, Logical{false, std::move(left), std::move(right)});
    line = cursor_.line();
  }
  return left;
}

ExprPtr ExpressionParser::ParseAnd() {
  int line = cursor_.line();
  ExprPtr left = ParseNot();
  while (cursor_.SkipName("and")) {
    ExprPtr right = ParseNot();
    left = Make(line, Logical{true, std::move(left), std::move(right)});
    line = cursor_.line();
  }
  return left;
}

ExprPtr ExpressionParser::ParseNot() {
  const int line = cursor_.line();
  if (!cursor_.SkipName("not")) return ParseComparison();
  const TokenCursor::Nesting nesting(cursor_);
  return Make(line, Unary{UnaryOp::kNot, ParseNot()});
}

ExprPtr ExpressionParser::ParseComparison() {
  const int line = cursor_.line();
  Comparison comparison{.first = ParseSum()};
  while (true) {
    const auto op = std::find_if(kComparisons.begin(), kComparisons.end(),
                                 [this](const auto& row) { return cursor_.AtOperator(row.first); });
    if (op != kComparisons.end()) {
      cursor_.Next();
      comparison.rest.emplace_back(op->second, ParseSum());
    } else if (cursor_.SkipName("in")) {
      comparison.rest.emplace_back(CompareOp::kIn, ParseSum());
    } else if (cursor_.AtName("not") && cursor_.Look().kind == TokenKind::kName &&
               cursor_.Look().text == "in") {
      cursor_.Next();
      cursor_.Next();
      comparison.rest.emplace_back(CompareOp::kNotIn, ParseSum());
    } else {
      break;
    }
  }
  if (comparison.rest.empty()) return std::move(comparison.first);
  return Make(line, std::move(comparison));
}

ExprPtr ExpressionParser::ParseSum() {
  int line = cursor_.line();
  ExprPtr left = ParseConcat();
  while (cursor_.AtOperator("+") || cursor_.AtOperator("-")) {
    const BinaryOp op = cursor_.Next().text == "+" ? BinaryOp::kAdd : BinaryOp::kSubtract;
    ExprPtr right = ParseConcat();
    left = Make(line, Binary{op, std::move(left), std::move(right)});
    line = cursor_.line();
  }
  return left;
}

ExprPtr ExpressionParser::ParseConcat() {
  const int line = cursor_.line();
  Concat concat;
  concat.parts.push_back(ParseProduct());
  while (cursor_.SkipOperator("~")) concat.parts.push_back(ParseProduct());
  if (concat.parts.size() == 1) return std::move(concat.parts[0]);
  return Make(line, std::move(concat));
}

ExprPtr ExpressionParser::ParseProduct() {
  int line = cursor_.line();
  ExprPtr left = ParsePower();
  while (true) {
    const auto op = std::find_if(kProducts.begin(), kProducts.end(),
                                 [this](const auto& row) { return cursor_.AtOperator(row.first); });
    if (op == kProducts.end()) return left;
    cursor_.Next();
    ExprPtr right = ParsePower();
    left = Make(line, Binary{op->second, std::move(left), std::move(right)});
    line = cursor_.line();
  }
}

ExprPtr ExpressionParser::ParsePower() {
  int line = cursor_.line();
  ExprPtr left = ParseUnary(true);
  while (cursor_.SkipOperator("**")) {
    ExprPtr right = ParseUnary(true);
    left = Make(line, Binary{BinaryOp::kPower, std::move(left), std::move(right)});
    line = cursor_.line();
  }
  return left;
}

ExprPtr ExpressionParser::ParseUnary(bool with_filters) {
  const TokenCursor::Nesting nesting(cursor_);
  const int line = cursor_.line();
  ExprPtr node;
  if (cursor_.SkipOperator("-")) {
    node = Make(line, Unary{UnaryOp::kNegative, ParseUnary(false)});
  } else if (cursor_.SkipOperator("+")) {
    node = Make(line, Unary{UnaryOp::kPositive, ParseUnary(false)});
  } else {
    node = ParsePrimary();
  }
  node = ParsePostfix(std::move(node));
  return with_filters ? ParseFiltersAndTests(std::move(node)) : std::move(node);
}

}  // namespace sophia::io::jinja
