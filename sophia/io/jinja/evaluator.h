#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sophia/io/jinja/ast.h"
#include "sophia/io/jinja/eval.h"
#include "sophia/io/jinja/runtime.h"

namespace sophia::io::jinja {

// The variables of a template, a loop's turn, a macro's call or a captured block. As an Object so
// that the runtime can release those that macros refer to.
class Scope : public Object {
 public:
  explicit Scope(std::shared_ptr<Scope> parent) : Object(Extent{}), parent_(std::move(parent)) {}

  std::string TypeName() const override { return "Scope"; }
  void Release() override { variables_.clear(); }
  const Value* Find(std::string_view name) const;
  void Set(std::string_view name, Value value);

 private:
  std::shared_ptr<Scope> parent_;
  std::vector<std::pair<std::string, Value>> variables_;
};

using ScopePtr = std::shared_ptr<Scope>;

// Walks a parsed template. Failures are Faults; line() tells where.
class Evaluator {
 public:
  Evaluator(Runtime& runtime, const Limits& limits, ScopePtr globals)
      : runtime_(runtime), limits_(limits), scope_(std::move(globals)) {}

  Rendering Run(const Body& body);
  int line() const { return line_; }

  // Runs the body of a macro with its parameters bound in a scope inside `closure`.
  std::string CallMacro(std::string_view name, const Signature& signature, const Body& body,
                        const ScopePtr& closure, const Arguments& arguments);

 private:
  enum class Flow { kNext, kBreak, kContinue };

  // Makes `scope` the current one while it lives.
  class Within {
   public:
    Within(Evaluator& evaluator, ScopePtr scope)
        : evaluator_(evaluator), outer_(std::exchange(evaluator.scope_, std::move(scope))) {}
    ~Within() { evaluator_.scope_ = std::move(outer_); }
    Within(const Within&) = delete;
    Within& operator=(const Within&) = delete;

   private:
    Evaluator& evaluator_;
    ScopePtr outer_;
  };

  ScopePtr Inner() const { return std::make_shared<Scope>(scope_); }

  Flow Execute(const Body& body);
  Flow Execute(const Data& node);
  Flow Execute(const Print& node);
  Flow Execute(const If& node);
  Flow Execute(const For& node);
  Flow Execute(const Set& node);
  Flow Execute(const SetBlock& node);
  Flow Execute(const MacroDef& node);
  Flow Execute(const CallBlock& node);
  Flow Execute(const FilterBlock& node);
  Flow Execute(const With& node);
  Flow Execute(const Generation& node);
  Flow Execute(const Break&) { return Flow::kBreak; }
  Flow Execute(const Continue&) { return Flow::kContinue; }

  void Write(std::string_view text);
  // What `body` writes, run in a scope of its own.
  std::string Capture(const Body& body, ScopePtr scope);
  void Assign(const Target& target, const Value& value);
  Value MakeMacro(std::string name, const Signature& signature, const Body& body);
  void BindParameters(std::string_view name, const Signature& signature,
                      const Arguments& arguments);
  // Filters whose innermost input stands for `text`.
  Value ApplyToText(const Expr& filter, std::string text);

  Value Evaluate(const Expr& expr);
  Value Evaluate(const Literal& node) { return node.value; }
  Value Evaluate(const Name& node);
  Value Evaluate(const ListExpr& node);
  Value Evaluate(const DictExpr& node);
  Value Evaluate(const Unary& node);
  Value Evaluate(const Binary& node);
  Value Evaluate(const Concat& node);
  Value Evaluate(const Logical& node);
  Value Evaluate(const Comparison& node);
  Value Evaluate(const Conditional& node);
  Value Evaluate(const GetAttribute& node);
  Value Evaluate(const GetItem& node);
  Value Evaluate(const SliceExpr& node);
  Value Evaluate(const CallExpr& node);
  Value Evaluate(const FilterExpr& node);
  Value Evaluate(const TestExpr& node);
  Value EvaluateOr(const ExprPtr& expr, const Value& fallback);
  Arguments EvaluateArguments(const CallArguments& node);

  Runtime& runtime_;
  const Limits& limits_;
  ScopePtr scope_;
  std::string* output_ = nullptr;
  bool capturing_ = false;
  std::vector<std::pair<size_t, size_t>> generations_;
  Value block_text_;
  int line_ = 1;
};

}  // namespace sophia::io::jinja
