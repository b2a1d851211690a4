#pragma once

#include <optional>
#include <string_view>

#include "sophia/graph/tensor.h"

namespace sophia {

// An operand of a binary op: a tensor, or a number that takes the other operand's type. Remembers
// the line of user code, which operators cannot take as an argument.
class Operand {
 public:
  Operand(const Tensor& tensor, Loc loc = Loc::current())  // NOLINT(google-explicit-constructor)
      : tensor_(tensor), loc_(loc) {}
  Operand(double number, Loc loc = Loc::current())  // NOLINT(google-explicit-constructor)
      : number_(number), loc_(loc) {}

  const Tensor& tensor() const { return tensor_; }
  const std::optional<double>& number() const { return number_; }
  Loc loc() const { return loc_; }

 private:
  Tensor tensor_;
  std::optional<double> number_;
  Loc loc_;
};

// Binary ops broadcast as NumPy does: sizes are aligned from the last dimension, and 1 stretches.
// Both operands must have one element type; nothing is promoted.
Tensor Add(Operand a, Operand b);
Tensor Sub(Operand a, Operand b);
Tensor Mul(Operand a, Operand b);
Tensor Div(Operand a, Operand b);
Tensor Rem(Operand a, Operand b);
Tensor Pow(Operand a, Operand b);
Tensor Max(Operand a, Operand b);
Tensor Min(Operand a, Operand b);
Tensor Atan2(Operand y, Operand x);
Tensor And(Operand a, Operand b);
Tensor Or(Operand a, Operand b);
Tensor Xor(Operand a, Operand b);
Tensor ShiftLeft(Operand a, Operand bits);
Tensor ShiftRightLogical(Operand a, Operand bits);
Tensor ShiftRightArithmetic(Operand a, Operand bits);

inline Tensor operator+(Operand a, Operand b) { return Add(a, b); }
inline Tensor operator-(Operand a, Operand b) { return Sub(a, b); }
inline Tensor operator*(Operand a, Operand b) { return Mul(a, b); }
inline Tensor operator/(Operand a, Operand b) { return Div(a, b); }

// bool results, broadcast like the binary ops.
Tensor Eq(Operand a, Operand b);
Tensor Ne(Operand a, Operand b);
Tensor Lt(Operand a, Operand b);
Tensor Le(Operand a, Operand b);
Tensor Gt(Operand a, Operand b);
Tensor Ge(Operand a, Operand b);

// condition ? a : b, element by element; all three broadcast.
Tensor Select(const Tensor& condition, Operand a, Operand b);
// min(max(x, low), high).
Tensor Clamp(Operand low, const Tensor& x, Operand high);

Tensor Abs(const Tensor& x, Loc loc = Loc::current());
Tensor Cbrt(const Tensor& x, Loc loc = Loc::current());
Tensor Ceil(const Tensor& x, Loc loc = Loc::current());
Tensor Cos(const Tensor& x, Loc loc = Loc::current());
Tensor Exp(const Tensor& x, Loc loc = Loc::current());
Tensor Expm1(const Tensor& x, Loc loc = Loc::current());
Tensor Floor(const Tensor& x, Loc loc = Loc::current());
Tensor IsFinite(const Tensor& x, Loc loc = Loc::current());
Tensor Log(const Tensor& x, Loc loc = Loc::current());
Tensor Log1p(const Tensor& x, Loc loc = Loc::current());
Tensor Logistic(const Tensor& x, Loc loc = Loc::current());
Tensor Neg(const Tensor& x, Loc loc = Loc::current());
Tensor Not(const Tensor& x, Loc loc = Loc::current());
Tensor RoundNearestEven(const Tensor& x, Loc loc = Loc::current());
Tensor Rsqrt(const Tensor& x, Loc loc = Loc::current());
Tensor Sign(const Tensor& x, Loc loc = Loc::current());
Tensor Sin(const Tensor& x, Loc loc = Loc::current());
Tensor Sqrt(const Tensor& x, Loc loc = Loc::current());
Tensor Tanh(const Tensor& x, Loc loc = Loc::current());

inline Tensor operator-(const Tensor& x) { return Neg(x); }

}  // namespace sophia
