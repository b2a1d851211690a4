#include "sophia/io/jinja/ast.h"

#include <algorithm>

namespace sophia::io::jinja {
namespace {

int Deepest(const ExprPtr& expr) { return expr == nullptr ? 0 : expr->depth; }
int Deepest(const std::string&) { return 0; }
int Deepest(CompareOp) { return 0; }
template <typename A, typename B>
int Deepest(const std::pair<A, B>& pair) {
  return std::max(Deepest(pair.first), Deepest(pair.second));
}
template <typename T>
int Deepest(const std::vector<T>& items) {
  int depth = 0;
  for (const T& item : items) depth = std::max(depth, Deepest(item));
  return depth;
}
int Deepest(const CallArguments& arguments) {
  return std::max({Deepest(arguments.positional), Deepest(arguments.named),
                   Deepest(arguments.spread_list), Deepest(arguments.spread_dict)});
}

int Below(const Literal&) { return 0; }
int Below(const Name&) { return 0; }
int Below(const ListExpr& node) { return Deepest(node.items); }
int Below(const DictExpr& node) { return Deepest(node.entries); }
int Below(const Unary& node) { return Deepest(node.operand); }
int Below(const Binary& node) { return std::max(Deepest(node.left), Deepest(node.right)); }
int Below(const Concat& node) { return Deepest(node.parts); }
int Below(const Logical& node) { return std::max(Deepest(node.left), Deepest(node.right)); }
int Below(const Comparison& node) { return std::max(Deepest(node.first), Deepest(node.rest)); }
int Below(const Conditional& node) {
  return std::max({Deepest(node.condition), Deepest(node.then), Deepest(node.otherwise)});
}
int Below(const GetAttribute& node) { return Deepest(node.object); }
int Below(const GetItem& node) { return std::max(Deepest(node.object), Deepest(node.key)); }
int Below(const SliceExpr& node) {
  return std::max({Deepest(node.begin), Deepest(node.end), Deepest(node.step)});
}
int Below(const CallExpr& node) { return std::max(Deepest(node.callee), Deepest(node.arguments)); }
int Below(const FilterExpr& node) { return std::max(Deepest(node.input), Deepest(node.arguments)); }
int Below(const TestExpr& node) { return std::max(Deepest(node.input), Deepest(node.arguments)); }

}  // namespace

ExprPtr MakeExpr(int line, ExprNode node) {
  const int depth = 1 + std::visit([](const auto& known) { return Below(known); }, node);
  return std::make_unique<Expr>(Expr{line, depth, std::move(node)});
}

}  // namespace sophia::io::jinja
