#include <string>
#include <vector>

#include "sophia/io/jinja/builtins.h"
#include "sophia/io/jinja/evaluator.h"
#include "sophia/io/jinja/ops.h"
#include "sophia/io/jinja/print.h"

namespace sophia::io::jinja {

Value Evaluator::Evaluate(const Expr& expr) {
  const Runtime::Level level(runtime_);
  runtime_.Charge(1);
  line_ = expr.line;
  return std::visit([this](const auto& node) { return Evaluate(node); }, expr.node);
}

Value Evaluator::EvaluateOr(const ExprPtr& expr, const Value& fallback) {
  return expr == nullptr ? fallback : Evaluate(*expr);
}

Value Evaluator::Evaluate(const Name& node) {
  const Value* found = scope_->Find(node.name);
  return found != nullptr ? *found : Value::Missing(fmt::format("'{}' is undefined", node.name));
}

Value Evaluator::Evaluate(const ListExpr& node) {
  std::vector<Value> items;
  items.reserve(node.items.size());
  for (const ExprPtr& item : node.items) items.push_back(Evaluate(*item));
  Value list = node.tuple ? MakeTuple(std::move(items)) : MakeList(std::move(items));
  return list;
}

Value Evaluator::Evaluate(const DictExpr& node) {
  Dict dict;
  for (const auto& [key, value] : node.entries) {
    Value name = Evaluate(*key);
    dict.Set(std::move(name), Evaluate(*value));
  }
  return MakeDict(std::move(dict));
}

Value Evaluator::Evaluate(const Unary& node) {
  const Value operand = Evaluate(*node.operand);
  if (node.op == UnaryOp::kNot) return !Truthy(operand);
  return Negate(operand, node.op == UnaryOp::kPositive);
}

Value Evaluator::Evaluate(const Binary& node) {
  const Value left = Evaluate(*node.left);
  const Value right = Evaluate(*node.right);
  Value result = Apply(runtime_, node.op, left, right);
  runtime_.Charge(result);
  return result;
}

Value Evaluator::Evaluate(const Concat& node) {
  std::string text;
  for (const ExprPtr& part : node.parts) {
    text += Str(Evaluate(*part));
    if (text.size() > kMaxText) Raise("expected a text of at most {} bytes", kMaxText);
  }
  runtime_.Charge(text.size() / 16);
  return text;
}

Value Evaluator::Evaluate(const Logical& node) {
  Value left = Evaluate(*node.left);
  return Truthy(left) == node.is_and ? Evaluate(*node.right) : left;
}

Value Evaluator::Evaluate(const Comparison& node) {
  Value left = Evaluate(*node.first);
  for (const auto& [op, operand] : node.rest) {
    Value right = Evaluate(*operand);
    runtime_.Charge(left);
    runtime_.Charge(right);
    if (!Compare(op, left, right)) return false;
    left = std::move(right);
  }
  return true;
}

Value Evaluator::Evaluate(const Conditional& node) {
  if (Truthy(Evaluate(*node.condition))) return Evaluate(*node.then);
  if (node.otherwise != nullptr) return Evaluate(*node.otherwise);
  return Value::Missing(
      fmt::format("the inline if-expression on line {} evaluated to false and no else section was "
                  "defined.",
                  line_));
}

Value Evaluator::Evaluate(const GetAttribute& node) {
  return Attribute(runtime_, Evaluate(*node.object), node.name);
}

Value Evaluator::Evaluate(const GetItem& node) {
  const Value object = Evaluate(*node.object);
  if (const auto* slice = std::get_if<SliceExpr>(&node.key->node)) {
    const Value begin = EvaluateOr(slice->begin, Value());
    const Value end = EvaluateOr(slice->end, Value());
    return Slice(runtime_, object, begin, end, EvaluateOr(slice->step, Value()));
  }
  return Item(runtime_, object, Evaluate(*node.key));
}

Value Evaluator::Evaluate(const SliceExpr&) { Raise("expected one slice, got several subscripts"); }

Arguments Evaluator::EvaluateArguments(const CallArguments& node) {
  Arguments arguments;
  for (const ExprPtr& value : node.positional) arguments.positional.push_back(Evaluate(*value));
  for (const auto& [name, value] : node.named) arguments.named.emplace_back(name, Evaluate(*value));
  if (node.spread_list != nullptr) {
    const Value spread = Evaluate(*node.spread_list);
    runtime_.Charge(spread);
    for (Value& item : Items(spread)) arguments.positional.push_back(std::move(item));
  }
  if (node.spread_dict != nullptr) {
    const Value spread = Evaluate(*node.spread_dict);
    runtime_.Charge(spread);
    if (spread.dict() == nullptr)
      Raise("argument after ** must be a mapping, not {}", TypeName(spread));
    for (const auto& [key, value] : spread.dict()->entries) {
      if (!key.is_string()) Raise("keywords must be strings");
      arguments.named.emplace_back(*key.text(), value);
    }
  }
  return arguments;
}

Value Evaluator::Evaluate(const CallExpr& node) {
  const Value callee = Evaluate(*node.callee);
  const Arguments arguments = EvaluateArguments(node.arguments);
  Value result = CallValue(runtime_, callee, arguments);
  runtime_.Charge(result);
  return result;
}

Value Evaluator::Evaluate(const FilterExpr& node) {
  const Value input = EvaluateOr(node.input, block_text_);
  const Arguments arguments = EvaluateArguments(node.arguments);
  return ApplyFilter(runtime_, node.name, input, arguments);
}

Value Evaluator::Evaluate(const TestExpr& node) {
  const Value input = Evaluate(*node.input);
  const Arguments arguments = EvaluateArguments(node.arguments);
  return ApplyTest(runtime_, node.name, input, arguments);
}

}  // namespace sophia::io::jinja
