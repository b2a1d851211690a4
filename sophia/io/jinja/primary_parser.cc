#include <algorithm>
#include <array>

#include "sophia/io/jinja/builtins.h"
#include "sophia/io/jinja/expression_parser.h"

namespace sophia::io::jinja {

ExprPtr ExpressionParser::ParsePrimary() {
  switch (cursor_.Current().kind) {
    case TokenKind::kName:
      return ParseName();
    case TokenKind::kString:
      return ParseString();
    case TokenKind::kInteger:
    case TokenKind::kFloat: {
      const Token& token = cursor_.Next();
      return Make(token.line, Literal{token.number});
    }
    default:
      break;
  }
  if (cursor_.AtOperator("[")) return ParseList();
  if (cursor_.AtOperator("{")) return ParseDict();
  if (!cursor_.SkipOperator("(")) cursor_.Fail("an expression");
  ExprPtr inner = ParseTuple(true, true);
  cursor_.ExpectOperator(")");
  return inner;
}

ExprPtr ExpressionParser::ParseName() {
  const Token& token = cursor_.Next();
  if (token.text == "true" || token.text == "True") return Make(token.line, Literal{true});
  if (token.text == "false" || token.text == "False") return Make(token.line, Literal{false});
  if (token.text == "none" || token.text == "None") return Make(token.line, Literal{});
  names_read_.push_back(token.text);
  return Make(token.line, Name{token.text});
}

ExprPtr ExpressionParser::ParseString() {
  const int line = cursor_.line();
  std::string text;
  while (cursor_.At(TokenKind::kString)) text += cursor_.Next().text;
  return Make(line, Literal{std::move(text)});
}

ExprPtr ExpressionParser::ParseList() {
  const int line = cursor_.line();
  cursor_.ExpectOperator("[");
  ListExpr list{.items = {}, .tuple = false};
  while (!cursor_.AtOperator("]")) {
    if (!list.items.empty()) cursor_.ExpectOperator(",");
    if (cursor_.AtOperator("]")) break;
    list.items.push_back(ParseExpression());
  }
  cursor_.ExpectOperator("]");
  return Make(line, std::move(list));
}

ExprPtr ExpressionParser::ParseDict() {
  const int line = cursor_.line();
  cursor_.ExpectOperator("{");
  DictExpr dict;
  while (!cursor_.AtOperator("}")) {
    if (!dict.entries.empty()) cursor_.ExpectOperator(",");
    if (cursor_.AtOperator("}")) break;
    ExprPtr key = ParseExpression();
    cursor_.ExpectOperator(":");
    ExprPtr value = ParseExpression();
    dict.entries.emplace_back(std::move(key), std::move(value));
  }
  cursor_.ExpectOperator("}");
  return Make(line, std::move(dict));
}

bool ExpressionParser::AtTupleEnd() const {
  return cursor_.At(TokenKind::kVariableEnd) || cursor_.At(TokenKind::kBlockEnd) ||
         cursor_.AtOperator(")") || cursor_.AtName("in") || cursor_.AtName("recursive");
}

ExprPtr ExpressionParser::ParseTuple(bool conditional, bool in_parentheses) {
  const int line = cursor_.line();
  ListExpr tuple{.items = {}, .tuple = true};
  bool comma = false;
  while (!AtTupleEnd()) {
    tuple.items.push_back(ParseExpression(conditional));
    if (!cursor_.SkipOperator(",")) break;
    comma = true;
  }
  if (!comma && tuple.items.size() == 1) return std::move(tuple.items[0]);
  if (tuple.items.empty() && !in_parentheses) cursor_.Fail("an expression");
  return Make(line, std::move(tuple));
}

ExprPtr ExpressionParser::ParsePostfix(ExprPtr node) {
  while (true) {
    if (cursor_.AtOperator(".") || cursor_.AtOperator("[")) {
      node = ParseSubscript(std::move(node));
    } else if (cursor_.AtOperator("(")) {
      const int line = cursor_.line();
      CallArguments arguments = ParseArguments();
      node = Make(line, CallExpr{std::move(node), std::move(arguments)});
    } else {
      return node;
    }
  }
}

ExprPtr ExpressionParser::ParseFiltersAndTests(ExprPtr node) {
  while (true) {
    if (cursor_.AtOperator("|")) {
      node = ParseFilters(std::move(node), false);
    } else if (cursor_.AtName("is")) {
      node = ParseTest(std::move(node));
    } else if (cursor_.AtOperator("(")) {
      node = ParsePostfix(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr ExpressionParser::ParseSubscript(ExprPtr node) {
  const int line = cursor_.line();
  if (cursor_.SkipOperator(".")) {
    if (cursor_.At(TokenKind::kInteger)) {
      ExprPtr index = Make(line, Literal{cursor_.Next().number});
      return Make(line, GetItem{std::move(node), std::move(index)});
    }
    if (!cursor_.At(TokenKind::kName)) cursor_.Fail("a name or number");
    return Make(line, GetAttribute{std::move(node), cursor_.Next().text});
  }
  cursor_.ExpectOperator("[");
  ListExpr parts{.items = {}, .tuple = true};
  while (!cursor_.AtOperator("]")) {
    if (!parts.items.empty()) cursor_.ExpectOperator(",");
    parts.items.push_back(ParseSubscriptPart());
  }
  cursor_.ExpectOperator("]");
  ExprPtr key = parts.items.size() == 1 ? std::move(parts.items[0]) : Make(line, std::move(parts));
  return Make(line, GetItem{std::move(node), std::move(key)});
}

ExprPtr ExpressionParser::ParseSubscriptPart() {
  const int line = cursor_.line();
  SliceExpr slice;
  if (!cursor_.AtOperator(":")) {
    slice.begin = ParseExpression();
    if (!cursor_.AtOperator(":")) return std::move(slice.begin);
  }
  cursor_.ExpectOperator(":");
  const auto at_end = [this] { return cursor_.AtOperator("]") || cursor_.AtOperator(","); };
  if (!cursor_.AtOperator(":") && !at_end()) slice.end = ParseExpression();
  if (cursor_.SkipOperator(":") && !at_end()) slice.step = ParseExpression();
  return Make(line, std::move(slice));
}

CallArguments ExpressionParser::ParseArguments() {
  cursor_.ExpectOperator("(");
  CallArguments arguments;
  bool first = true;
  while (!cursor_.AtOperator(")")) {
    if (!first) {
      cursor_.ExpectOperator(",");
      if (cursor_.AtOperator(")")) break;
    }
    first = false;
    const bool spread = arguments.spread_list != nullptr || arguments.spread_dict != nullptr;
    if (cursor_.AtOperator("*")) {
      if (spread) cursor_.Fail("no second spread argument");
      cursor_.Next();
      arguments.spread_list = ParseExpression();
    } else if (cursor_.AtOperator("**")) {
      if (arguments.spread_dict != nullptr) cursor_.Fail("no second spread argument");
      cursor_.Next();
      arguments.spread_dict = ParseExpression();
    } else if (cursor_.At(TokenKind::kName) && cursor_.Look().kind == TokenKind::kOperator &&
               cursor_.Look().text == "=") {
      if (arguments.spread_dict != nullptr) cursor_.Fail("no argument after **");
      std::string name = cursor_.TakeName();
      cursor_.Next();
      arguments.named.emplace_back(std::move(name), ParseExpression());
    } else {
      if (spread || !arguments.named.empty()) cursor_.Fail("no positional argument here");
      arguments.positional.push_back(ParseExpression());
    }
  }
  cursor_.ExpectOperator(")");
  return arguments;
}

std::string ExpressionParser::ParseDottedName() {
  std::string name = cursor_.TakeName();
  while (cursor_.SkipOperator(".")) name += '.' + cursor_.TakeName();
  return name;
}

ExprPtr ExpressionParser::ParseFilters(ExprPtr input, bool started) {
  while (started || cursor_.SkipOperator("|")) {
    started = false;
    const int line = cursor_.line();
    std::string name = ParseDottedName();
    if (!IsFilter(name)) {
      unknown_.emplace_back(
          line, fmt::format("expected a known filter, got '{}'{}", name, SuggestFilter(name)));
    }
    CallArguments arguments;
    if (cursor_.AtOperator("(")) arguments = ParseArguments();
    input = Make(line, FilterExpr{std::move(input), std::move(name), std::move(arguments)});
  }
  return input;
}

ExprPtr ExpressionParser::ParseTest(ExprPtr node) {
  const int line = cursor_.line();
  cursor_.ExpectName("is");
  const bool negated = cursor_.SkipName("not");
  std::string name = ParseDottedName();
  if (!IsTest(name)) {
    unknown_.emplace_back(
        line, fmt::format("expected a known test, got '{}'{}", name, SuggestTest(name)));
  }
  CallArguments arguments;
  const TokenKind kind = cursor_.Current().kind;
  const bool operand = kind == TokenKind::kString || kind == TokenKind::kInteger ||
                       kind == TokenKind::kFloat || cursor_.AtOperator("[") ||
                       cursor_.AtOperator("{") ||
                       (kind == TokenKind::kName && !cursor_.AtName("else") &&
                        !cursor_.AtName("or") && !cursor_.AtName("and"));
  if (cursor_.AtOperator("(")) {
    arguments = ParseArguments();
  } else if (operand) {
    if (cursor_.AtName("is")) cursor_.Fail("no chain of tests");
    const TokenCursor::Nesting nesting(cursor_);
    arguments.positional.push_back(ParsePostfix(ParsePrimary()));
  }
  node = Make(line, TestExpr{std::move(node), std::move(name), std::move(arguments)});
  return negated ? Make(line, Unary{UnaryOp::kNot, std::move(node)}) : std::move(node);
}

Target ExpressionParser::ParseTargetItem(bool with_namespace) {
  if (cursor_.SkipOperator("(")) {
    const TokenCursor::Nesting nesting(cursor_);
    Target target = ParseTarget(false);
    cursor_.ExpectOperator(")");
    return target;
  }
  const int line = cursor_.line();
  Target target{.name = cursor_.TakeName()};
  static constexpr std::array<std::string_view, 6> kConstants = {"true", "false", "none",
                                                                 "True", "False", "None"};
  if (std::find(kConstants.begin(), kConstants.end(), target.name) != kConstants.end()) {
    cursor_.FailAt(line, fmt::format("expected a name to assign to, got '{}'", target.name));
  }
  if (with_namespace && cursor_.SkipOperator(".")) {
    target.attribute = cursor_.TakeName();
    names_read_.push_back(target.name);
  }
  return target;
}

Target ExpressionParser::ParseTarget(bool with_namespace) {
  Target tuple{.tuple = true};
  bool comma = false;
  while (!AtTupleEnd()) {
    tuple.items.push_back(ParseTargetItem(with_namespace));
    if (!cursor_.SkipOperator(",")) break;
    comma = true;
  }
  if (tuple.items.empty()) cursor_.Fail("a name to assign to");
  return comma ? tuple : std::move(tuple.items[0]);
}

}  // namespace sophia::io::jinja
