#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "sophia/io/jinja/value.h"

namespace sophia::io::jinja {

struct Expr;
struct Stmt;
using ExprPtr = std::unique_ptr<Expr>;
using Body = std::vector<Stmt>;

struct Literal {
  Value value;
};
struct Name {
  std::string name;
};
struct ListExpr {
  std::vector<ExprPtr> items;
  bool tuple;
};
struct DictExpr {
  std::vector<std::pair<ExprPtr, ExprPtr>> entries;
};
enum class UnaryOp { kNegative, kPositive, kNot };
struct Unary {
  UnaryOp op;
  ExprPtr operand;
};
enum class BinaryOp { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };
struct Binary {
  BinaryOp op;
  ExprPtr left;
  ExprPtr right;
};
struct Concat {
  std::vector<ExprPtr> parts;
};
struct Logical {
  bool is_and;
  ExprPtr left;
  ExprPtr right;
};
enum class CompareOp { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };
struct Comparison {
  ExprPtr first;
  std::vector<std::pair<CompareOp, ExprPtr>> rest;
};
struct Conditional {
  ExprPtr condition;
  ExprPtr then;
  ExprPtr otherwise;  // may be null
};
struct GetAttribute {
  ExprPtr object;
  std::string name;
};
struct GetItem {
  ExprPtr object;
  ExprPtr key;
};
struct SliceExpr {  // bounds may be null
  ExprPtr begin;
  ExprPtr end;
  ExprPtr step;
};
struct CallArguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr spread_list;  // *args, may be null
  ExprPtr spread_dict;  // **kwargs, may be null
};
struct CallExpr {
  ExprPtr callee;
  CallArguments arguments;
};
struct FilterExpr {
  ExprPtr input;  // null stands for the text of the enclosing block
  std::string name;
  CallArguments arguments;
};
struct TestExpr {
  ExprPtr input;
  std::string name;
  CallArguments arguments;
};

using ExprNode =
    std::variant<Literal, Name, ListExpr, DictExpr, Unary, Binary, Concat, Logical, Comparison,
                 Conditional, GetAttribute, GetItem, SliceExpr, CallExpr, FilterExpr, TestExpr>;

struct Expr {
  int line;
  int depth;  // levels of nodes below and including this one
  ExprNode node;
};

// An expression with its depth worked out.
ExprPtr MakeExpr(int line, ExprNode node);

// What an assignment writes: a name, an attribute of a namespace, or a tuple of targets.
struct Target {
  std::string name;
  std::string attribute;      // of the namespace `name`, when not empty
  std::vector<Target> items;  // of a tuple
  bool tuple = false;
};

struct Data {
  std::string text;
};
struct Print {
  ExprPtr value;
};
struct If {
  std::vector<std::pair<ExprPtr, Body>> branches;
  Body otherwise;
};
struct For {
  Target target;
  ExprPtr iterable;
  ExprPtr condition;  // may be null
  Body body;
  Body otherwise;
};
struct Set {
  Target target;
  ExprPtr value;
};
struct SetBlock {
  Target target;
  ExprPtr filter;  // applied to the text; may be null
  Body body;
};
struct Signature {
  std::vector<std::string> names;
  std::vector<ExprPtr> defaults;  // of the last names
  bool uses_caller = false;
  bool uses_varargs = false;
  bool uses_kwargs = false;
};
struct MacroDef {
  std::string name;
  Signature signature;
  Body body;
};
struct CallBlock {
  Signature signature;
  ExprPtr call;
  Body body;
};
struct FilterBlock {
  ExprPtr filter;
  Body body;
};
struct With {
  std::vector<std::pair<Target, ExprPtr>> assignments;
  Body body;
};
struct Generation {  // transformers' {% generation %}: marks what the assistant wrote
  Body body;
};
struct Break {};
struct Continue {};

struct Stmt {
  int line;
  std::variant<Data, Print, If, For, Set, SetBlock, MacroDef, CallBlock, FilterBlock, With,
               Generation, Break, Continue>
      node;
};

}  // namespace sophia::io::jinja
