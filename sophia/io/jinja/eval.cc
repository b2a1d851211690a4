#include "sophia/io/jinja/eval.h"

#include <algorithm>

#include "sophia/base/error.h"
#include "sophia/io/jinja/builtins.h"
#include "sophia/io/jinja/evaluator.h"
#include "sophia/io/jinja/loop.h"
#include "sophia/io/jinja/print.h"

namespace sophia::io::jinja {
namespace {

class Macro : public Object {
 public:
  Macro(Evaluator& evaluator, std::string name, const Signature& signature, const Body& body,
        ScopePtr closure)
      : Object(Extent{}),
        evaluator_(evaluator),
        name_(std::move(name)),
        signature_(signature),
        body_(body),
        closure_(std::move(closure)) {}

  std::string TypeName() const override { return "Macro"; }
  std::string Repr() const override {
    return name_.empty() ? "<Macro anonymous>" : fmt::format("<Macro {}>", StringRepr(name_));
  }
  bool callable() const override { return true; }

  std::optional<Value> Attribute(Runtime&, std::string_view name) override {
    if (name == "name") return Value(name_);
    if (name == "arguments") {
      return MakeTuple({signature_.names.begin(), signature_.names.end()});
    }
    return std::nullopt;
  }

  Value Call(Runtime&, const Arguments& arguments) override {
    return evaluator_.CallMacro(name_, signature_, body_, closure_, arguments);
  }

 private:
  Evaluator& evaluator_;
  std::string name_;
  const Signature& signature_;
  const Body& body_;
  ScopePtr closure_;
};

}  // namespace

const Value* Scope::Find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent_.get()) {
    for (const auto& [known, value] : scope->variables_) {
      if (known == name) return &value;
    }
  }
  return nullptr;
}

void Scope::Set(std::string_view name, Value value) {
  for (auto& [known, current] : variables_) {
    if (known == name) {
      current = std::move(value);
      return;
    }
  }
  variables_.emplace_back(name, std::move(value));
}

Rendering Evaluator::Run(const Body& body) {
  Rendering rendering;
  output_ = &rendering.text;
  const Within within(*this, Inner());
  Execute(body);
  rendering.generations = std::move(generations_);
  return rendering;
}

void Evaluator::Write(std::string_view text) {
  runtime_.Charge(text.size() / 16);
  if (output_->size() + text.size() > limits_.output) {
    Raise("expected at most {} bytes of output", limits_.output);
  }
  *output_ += text;
}

std::string Evaluator::Capture(const Body& body, ScopePtr scope) {
  std::string text;
  struct Redirect {
    Redirect(Evaluator& evaluator, std::string* target)
        : evaluator(evaluator),
          output(std::exchange(evaluator.output_, target)),
          capturing(std::exchange(evaluator.capturing_, true)) {}
    ~Redirect() {
      evaluator.output_ = output;
      evaluator.capturing_ = capturing;
    }
    Evaluator& evaluator;
    std::string* output;
    bool capturing;
  };
  const Redirect redirect(*this, &text);
  const Within within(*this, std::move(scope));
  Execute(body);
  return text;
}

Evaluator::Flow Evaluator::Execute(const Body& body) {
  const Runtime::Level level(runtime_);
  for (const Stmt& statement : body) {
    runtime_.Charge(1);
    line_ = statement.line;
    const Flow flow =
        std::visit([this](const auto& node) { return Execute(node); }, statement.node);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Execute(const Data& node) {
  Write(node.text);
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Execute(const Print& node) {
  Write(Str(Evaluate(*node.value)));
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Execute(const If& node) {
  for (const auto& [condition, body] : node.branches) {
    if (Truthy(Evaluate(*condition))) return Execute(body);
  }
  return Execute(node.otherwise);
}

Evaluator::Flow Evaluator::Execute(const For& node) {
  const int line = line_;
  const Value source = Evaluate(*node.iterable);
  runtime_.Charge(source);
  Loop::Condition condition;
  if (node.condition != nullptr) {
    condition = [this, &node, outer = scope_](const Value& item) {
      const Within within(*this, std::make_shared<Scope>(outer));
      Assign(node.target, item);
      return Truthy(Evaluate(*node.condition));
    };
  }
  const auto loop = std::make_shared<Loop>(source, std::move(condition));
  const struct Releaser {
    ~Releaser() { loop.Release(); }
    Loop& loop;
  } releaser{*loop};
  // As in jinja2, turns that end in `break` or `continue` do not keep `else` from running.
  bool completed = false;
  while (const Value* item = loop->Advance()) {
    runtime_.Charge(1);
    line_ = line;
    const Within within(*this, Inner());
    scope_->Set("loop", Value(loop));
    Assign(node.target, *item);
    const Flow flow = Execute(node.body);
    if (flow == Flow::kBreak) break;
    completed = completed || flow == Flow::kNext;
  }
  if (completed) return Flow::kNext;
  const Within within(*this, Inner());
  return Execute(node.otherwise);
}

Evaluator::Flow Evaluator::Execute(const Set& node) {
  Assign(node.target, Evaluate(*node.value));
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Execute(const SetBlock& node) {
  std::string text = Capture(node.body, Inner());
  Assign(node.target, node.filter == nullptr ? Value(std::move(text))
                                             : ApplyToText(*node.filter, std::move(text)));
  return Flow::kNext;
}

Value Evaluator::MakeMacro(std::string name, const Signature& signature, const Body& body) {
  runtime_.Track(scope_);
  return Value(std::make_shared<Macro>(*this, std::move(name), signature, body, scope_));
}

Evaluator::Flow Evaluator::Execute(const MacroDef& node) {
  scope_->Set(node.name, MakeMacro(node.name, node.signature, node.body));
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Execute(const CallBlock& node) {
  const auto& call = std::get<CallExpr>(node.call->node);
  const Value callee = Evaluate(*call.callee);
  Arguments arguments = EvaluateArguments(call.arguments);
  arguments.named.emplace_back("caller", MakeMacro("", node.signature, node.body));
  Write(Str(CallValue(runtime_, callee, arguments)));
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Execute(const FilterBlock& node) {
  Write(Str(ApplyToText(*node.filter, Capture(node.body, Inner()))));
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Execute(const With& node) {
  const ScopePtr inner = Inner();
  for (const auto& [target, expr] : node.assignments) {
    const Value value = Evaluate(*expr);
    const Within within(*this, inner);
    Assign(target, value);
  }
  const Within within(*this, inner);
  return Execute(node.body);
}

Evaluator::Flow Evaluator::Execute(const Generation& node) {
  const std::string text = Capture(node.body, Inner());
  const size_t begin = output_->size();
  Write(text);
  if (!capturing_) generations_.emplace_back(begin, output_->size());
  return Flow::kNext;
}

void Evaluator::Assign(const Target& target, const Value& value) {
  if (target.tuple) {
    runtime_.Charge(value);
    const std::vector<Value> items = Items(value);
    if (items.size() != target.items.size()) {
      Raise("expected {} values to unpack, got {}", target.items.size(), items.size());
    }
    for (size_t i = 0; i < items.size(); ++i) Assign(target.items[i], items[i]);
    return;
  }
  if (target.attribute.empty()) {
    scope_->Set(target.name, value);
    return;
  }
  const Value* object = scope_->Find(target.name);
  auto* space = object == nullptr ? nullptr : dynamic_cast<Namespace*>(object->object());
  if (space == nullptr) Raise("cannot assign attribute on non-namespace object");
  space->Set(target.attribute, value);
}

Value Evaluator::ApplyToText(const Expr& filter, std::string text) {
  const Value outer = std::exchange(block_text_, Value(std::move(text)));
  Value result = Evaluate(filter);
  block_text_ = outer;
  return result;
}

std::string Evaluator::CallMacro(std::string_view name, const Signature& signature,
                                 const Body& body, const ScopePtr& closure,
                                 const Arguments& arguments) {
  runtime_.Charge(1);
  const int line = line_;
  const auto scope = std::make_shared<Scope>(closure);
  {
    const Within within(*this, scope);
    BindParameters(name, signature, arguments);
  }
  std::string text = Capture(body, scope);
  line_ = line;
  return text;
}

void Evaluator::BindParameters(std::string_view name, const Signature& signature,
                               const Arguments& arguments) {
  auto named = arguments.named;
  const auto take = [&](std::string_view key) -> std::optional<Value> {
    const auto found = std::find_if(named.begin(), named.end(),
                                    [&](const auto& entry) { return entry.first == key; });
    if (found == named.end()) return std::nullopt;
    Value value = std::move(found->second);
    named.erase(found);
    return value;
  };
  const auto& names = signature.names;
  const auto& positional = arguments.positional;
  std::vector<std::optional<Value>> given(names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    given[i] = i < positional.size() ? std::optional<Value>(positional[i]) : take(names[i]);
  }
  for (size_t i = 0; i < names.size(); ++i) {
    const size_t required = names.size() - signature.defaults.size();
    if (given[i]) {
      scope_->Set(names[i], *given[i]);
    } else if (i >= required) {
      scope_->Set(names[i], Evaluate(*signature.defaults[i - required]));
    } else {
      scope_->Set(names[i],
                  Value::Missing(fmt::format("parameter '{}' was not provided", names[i])));
    }
  }
  if (signature.uses_caller) {
    const std::optional<Value> caller = take("caller");
    scope_->Set("caller", caller ? *caller : Value::Missing("No caller defined"));
  }
  if (signature.uses_kwargs) {
    Dict rest;
    for (auto& [key, value] : named) rest.Set(key, std::move(value));
    scope_->Set("kwargs", MakeDict(std::move(rest)));
  } else if (!named.empty()) {
    Raise("macro '{}' takes no keyword argument '{}'", name, named[0].first);
  }
  const size_t bound = std::min(names.size(), positional.size());
  if (signature.uses_varargs) {
    scope_->Set("varargs",
                MakeTuple({positional.begin() + static_cast<ptrdiff_t>(bound), positional.end()}));
  } else if (positional.size() > names.size()) {
    Raise("macro '{}' takes not more than {} argument(s)", name, names.size());
  }
}

Rendering Render(const Template& parsed, std::string_view name, const Dict& variables,
                 const std::tm& now, const Limits& limits) {
  Runtime runtime(limits.work, now);
  const auto globals = std::make_shared<Scope>(nullptr);
  for (auto& [key, value] : Globals()) globals->Set(key, value);
  const auto context = std::make_shared<Scope>(globals);
  for (const auto& [key, value] : variables.entries) context->Set(*key.text(), value);
  Evaluator evaluator(runtime, limits, context);
  try {
    return evaluator.Run(parsed.body);
  } catch (const Fault& fault) {
    throw Error(fmt::format("{}:{}", name, evaluator.line()), fault.what());
  }
}

}  // namespace sophia::io::jinja
