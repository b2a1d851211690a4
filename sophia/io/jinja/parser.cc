#include "sophia/io/jinja/parser.h"

#include <algorithm>
#include <initializer_list>

#include "sophia/io/jinja/expression_parser.h"

namespace sophia::io::jinja {
namespace {

class StatementParser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Template Run() {
    Template result;
    result.body = ParseUntil({});
    if (!unknown_.empty()) cursor_.FailAt(unknown_[0].first, unknown_[0].second);
    result.has_generation = has_generation_;
    return result;
  }

 private:
  // Statements up to, and without, a tag whose name is in `ends`; up to the end of the template
  // when there are none.
  Body ParseUntil(std::initializer_list<std::string_view> ends) {
    Body body;
    while (!cursor_.At(TokenKind::kEnd)) {
      const int line = cursor_.line();
      if (cursor_.At(TokenKind::kData)) {
        body.push_back({line, Data{cursor_.Next().text}});
      } else if (cursor_.At(TokenKind::kVariableBegin)) {
        cursor_.Next();
        body.push_back({line, Print{ParseTuple(true)}});
        cursor_.Expect(TokenKind::kVariableEnd, "'}}'");
      } else {
        cursor_.Expect(TokenKind::kBlockBegin, "'{%'");
        const auto at_end = [this](std::string_view end) { return cursor_.AtName(end); };
        if (std::any_of(ends.begin(), ends.end(), at_end)) return body;
        ParseStatement(body);
        cursor_.Expect(TokenKind::kBlockEnd, "'%}'");
      }
    }
    if (ends.size() > 0) cursor_.Fail(fmt::format("'{{% {} %}}'", fmt::join(ends, "' or '")));
    return body;
  }

  // The body of a tag: past its end, statements up to one of `ends`, whose name is current then.
  Body ParseBody(std::initializer_list<std::string_view> ends) {
    const TokenCursor::Nesting nesting(cursor_);
    cursor_.SkipOperator(":");
    cursor_.Expect(TokenKind::kBlockEnd, "'%}'");
    return ParseUntil(ends);
  }

  Body ParseBodyPast(std::string_view end) {
    Body body = ParseBody({end});
    cursor_.Next();
    return body;
  }

  void ParseStatement(Body& body) {
    const int line = cursor_.line();
    if (!cursor_.At(TokenKind::kName)) cursor_.Fail("a tag's name");
    const std::string tag = cursor_.Next().text;
    const auto add = [&](auto node) { body.push_back({line, std::move(node)}); };
    if (tag == "if") return add(ParseIf());
    if (tag == "for") return add(ParseFor());
    if (tag == "set") return ParseSet(body, line);
    if (tag == "macro") return add(ParseMacro());
    if (tag == "call") return add(ParseCallBlock());
    if (tag == "filter") return add(ParseFilterBlock());
    if (tag == "with") return add(ParseWith());
    if (tag == "print") return ParsePrint(body, line);
    if (tag == "generation") return add(ParseGeneration());
    if (tag == "break" || tag == "continue") {
      if (loops_ == 0) cursor_.FailAt(line, fmt::format("expected '{}' inside a loop", tag));
      if (tag == "break") return add(Break{});
      return add(Continue{});
    }
    cursor_.FailAt(line, fmt::format("expected a tag that chat templates use, got '{}'", tag));
  }

  If ParseIf() {
    If node;
    const size_t unknown = unknown_.size();
    while (true) {
      ExprPtr condition = ParseTuple(false);
      node.branches.emplace_back(std::move(condition), ParseBody({"elif", "else", "endif"}));
      if (cursor_.SkipName("elif")) continue;
      if (cursor_.SkipName("else")) node.otherwise = ParseBody({"endif"});
      break;
    }
    unknown_.resize(unknown);
    cursor_.ExpectName("endif");
    return node;
  }

  For ParseFor() {
    For node;
    node.target = ParseTarget(false);
    cursor_.ExpectName("in");
    node.iterable = ParseTuple(false);
    if (cursor_.SkipName("if")) node.condition = ParseExpression();
    if (cursor_.AtName("recursive")) cursor_.Fail("a loop that is not recursive");
    ++loops_;
    node.body = ParseBody({"else", "endfor"});
    --loops_;
    if (cursor_.SkipName("else")) node.otherwise = ParseBody({"endfor"});
    cursor_.ExpectName("endfor");
    return node;
  }

  void ParseSet(Body& body, int line) {
    Target target = ParseTarget(true);
    if (cursor_.SkipOperator("=")) {
      body.push_back({line, Set{std::move(target), ParseTuple(true)}});
      return;
    }
    ExprPtr filter = ParseFilters(nullptr, false);
    const Isolated isolated(*this);
    body.push_back({line, SetBlock{std::move(target), std::move(filter), ParseBodyPast("endset")}});
  }

  Signature ParseSignature() {
    Signature signature;
    cursor_.ExpectOperator("(");
    while (!cursor_.AtOperator(")")) {
      if (!signature.names.empty()) cursor_.ExpectOperator(",");
      signature.names.push_back(cursor_.TakeName());
      if (cursor_.SkipOperator("=")) {
        signature.defaults.push_back(ParseExpression());
      } else if (!signature.defaults.empty()) {
        cursor_.Fail("'=' and a default");
      }
    }
    cursor_.ExpectOperator(")");
    return signature;
  }

  // Parses the body of a macro and notes which of the special names it reads.
  Body ParseMacroBody(Signature& signature, std::string_view end) {
    const Isolated isolated(*this);
    std::vector<std::string> outer = std::move(names_read_);
    names_read_.clear();
    Body body = ParseBodyPast(end);
    const auto reads = [&](std::string_view name) {
      const auto& own = signature.names;
      return std::find(names_read_.begin(), names_read_.end(), name) != names_read_.end() &&
             std::find(own.begin(), own.end(), name) == own.end();
    };
    signature.uses_caller = reads("caller");
    signature.uses_varargs = reads("varargs");
    signature.uses_kwargs = reads("kwargs");
    names_read_.insert(names_read_.end(), outer.begin(), outer.end());
    return body;
  }

  MacroDef ParseMacro() {
    MacroDef node;
    node.name = cursor_.TakeName();
    node.signature = ParseSignature();
    node.body = ParseMacroBody(node.signature, "endmacro");
    return node;
  }

  CallBlock ParseCallBlock() {
    CallBlock node;
    if (cursor_.AtOperator("(")) node.signature = ParseSignature();
    const int line = cursor_.line();
    node.call = ParseExpression();
    if (!std::holds_alternative<CallExpr>(node.call->node)) {
      cursor_.FailAt(line, "expected a call of a macro");
    }
    node.body = ParseMacroBody(node.signature, "endcall");
    return node;
  }

  FilterBlock ParseFilterBlock() {
    FilterBlock node;
    node.filter = ParseFilters(nullptr, true);
    const Isolated isolated(*this);
    node.body = ParseBodyPast("endfilter");
    return node;
  }

  With ParseWith() {
    With node;
    while (!cursor_.At(TokenKind::kBlockEnd)) {
      if (!node.assignments.empty()) cursor_.ExpectOperator(",");
      Target target = ParseTarget(false);
      cursor_.ExpectOperator("=");
      node.assignments.emplace_back(std::move(target), ParseExpression());
    }
    node.body = ParseBodyPast("endwith");
    return node;
  }

  void ParsePrint(Body& body, int line) {
    while (!cursor_.At(TokenKind::kBlockEnd)) {
      body.push_back({line, Print{ParseExpression()}});
      if (!cursor_.At(TokenKind::kBlockEnd)) cursor_.ExpectOperator(",");
    }
  }

  Generation ParseGeneration() {
    has_generation_ = true;
    const Isolated isolated(*this);
    return Generation{ParseBodyPast("endgeneration")};
  }

  // Text that is captured apart: `break` cannot leave it.
  class Isolated {
   public:
    explicit Isolated(StatementParser& parser) : parser_(parser), loops_(parser.loops_) {
      parser_.loops_ = 0;
    }
    ~Isolated() { parser_.loops_ = loops_; }
    Isolated(const Isolated&) = delete;
    Isolated& operator=(const Isolated&) = delete;

   private:
    StatementParser& parser_;
    int loops_;
  };

  int loops_ = 0;
  bool has_generation_ = false;
};

}  // namespace

Template Parse(std::string_view source, std::string_view name) {
  return StatementParser(Tokenize(source, name), name).Run();
}

}  // namespace sophia::io::jinja
