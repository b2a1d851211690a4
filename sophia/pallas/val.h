#pragma once

#include <concepts>
#include <optional>
#include <vector>

#include "sophia/pallas/ir.h"

// The values of a kernel and what can be computed with them. Names and meaning are those of
// jax.numpy and jax.lax; nothing is promoted. docs/guides/write-a-kernel.md lists what each chip
// lacks.
namespace sophia::pallas {

// An operand: a value, or a number that takes the other operand's type. Remembers the line of user
// code, which operators cannot take as an argument.
class Arg {
 public:
  Arg(const Val& val, Loc loc = Loc::current())  // NOLINT(google-explicit-constructor)
      : val_(val), loc_(loc) {}
  template <typename T>
  requires std::integral<T> || std::floating_point<T> Arg(
      T number, Loc loc = Loc::current())  // NOLINT(google-explicit-constructor)
      : number_(static_cast<double>(number)), loc_(loc) {}

  const Val& val() const { return val_; }
  const std::optional<double>& number() const { return number_; }
  Loc loc() const { return loc_; }

 private:
  Val val_;
  std::optional<double> number_;
  Loc loc_;
};

// Every element is `value`. Shape {dtype, {}} makes a scalar.
Val Full(const Shape& shape, double value, Loc loc = Loc::current());
// s32; element [.., i, ..] is i along `axis`. At least two dimensions.
Val Iota(const Dims& dims, int64_t axis, Loc loc = Loc::current());

// Binary ops broadcast as NumPy does; scalars stretch over vectors. Both operands have one element
// type.
Val Add(Arg a, Arg b);
Val Sub(Arg a, Arg b);
Val Mul(Arg a, Arg b);
Val Div(Arg a, Arg b);  // integers: towards zero
Val Rem(Arg a, Arg b);
Val Pow(Arg a, Arg b);
Val Max(Arg a, Arg b);
Val Min(Arg a, Arg b);
Val And(Arg a, Arg b);
Val Or(Arg a, Arg b);
Val Xor(Arg a, Arg b);
Val ShiftLeft(Arg a, Arg bits);
Val ShiftRightLogical(Arg a, Arg bits);
Val ShiftRightArithmetic(Arg a, Arg bits);

inline Val operator+(Arg a, Arg b) { return Add(a, b); }
inline Val operator-(Arg a, Arg b) { return Sub(a, b); }
inline Val operator*(Arg a, Arg b) { return Mul(a, b); }
inline Val operator/(Arg a, Arg b) { return Div(a, b); }
inline Val operator%(Arg a, Arg b) { return Rem(a, b); }
inline Val operator&(Arg a, Arg b) { return And(a, b); }
inline Val operator|(Arg a, Arg b) { return Or(a, b); }
inline Val operator^(Arg a, Arg b) { return Xor(a, b); }

// bool results. (Val's own == compares handles.)
Val Eq(Arg a, Arg b);
Val Ne(Arg a, Arg b);
Val Lt(Arg a, Arg b);
Val Le(Arg a, Arg b);
Val Gt(Arg a, Arg b);
Val Ge(Arg a, Arg b);
inline Val operator<(Arg a, Arg b) { return Lt(a, b); }
inline Val operator<=(Arg a, Arg b) { return Le(a, b); }
inline Val operator>(Arg a, Arg b) { return Gt(a, b); }
inline Val operator>=(Arg a, Arg b) { return Ge(a, b); }

// condition ? a : b. A scalar condition chooses between whole vectors.
Val Select(const Val& condition, Arg a, Arg b);

Val Abs(const Val& x, Loc loc = Loc::current());
Val Ceil(const Val& x, Loc loc = Loc::current());
Val Cos(const Val& x, Loc loc = Loc::current());
Val Exp(const Val& x, Loc loc = Loc::current());
Val Exp2(const Val& x, Loc loc = Loc::current());
Val Floor(const Val& x, Loc loc = Loc::current());
Val IsFinite(const Val& x, Loc loc = Loc::current());  // f32
Val Log(const Val& x, Loc loc = Loc::current());
Val Log1p(const Val& x, Loc loc = Loc::current());
Val Logistic(const Val& x, Loc loc = Loc::current());
Val Neg(const Val& x, Loc loc = Loc::current());
Val Not(const Val& x, Loc loc = Loc::current());  // bool or integer
Val RoundNearestEven(const Val& x, Loc loc = Loc::current());
Val Rsqrt(const Val& x, Loc loc = Loc::current());
Val Sin(const Val& x, Loc loc = Loc::current());
Val Sqrt(const Val& x, Loc loc = Loc::current());
Val Tanh(const Val& x, Loc loc = Loc::current());
inline Val operator-(const Val& x) { return Neg(x); }

// 1 / x in f32. `approx` takes the hardware's estimate, good to about three digits.
struct ReciprocalOptions {
  bool approx = false;
};
Val Reciprocal(const Val& x, const ReciprocalOptions& options = {}, Loc loc = Loc::current());

// Value conversion between f32, bf16, f8, s4 … s32 and their unsigned forms, and from bool.
Val Convert(const Val& x, DType dtype, Loc loc = Loc::current());
// Same bits under another type. Another width scales the second-last dimension: s32[32, 128]
// becomes bf16[64, 128], low bits in the first row (pltpu.bitcast).
Val Bitcast(const Val& x, DType dtype, Loc loc = Loc::current());
// f32 to bf16, rounded up with the probability that `bits` (s32, uniform) gives. From v5e on.
Val StochasticRound(const Val& x, const Val& bits, Loc loc = Loc::current());

Val BroadcastTo(const Val& x, const Dims& dims, Loc loc = Loc::current());
Val Reshape(const Val& x, const Dims& dims, Loc loc = Loc::current());
// Dimension i of the result is dimension permutation[i] of x; without one, the last two swap.
Val Transpose(const Val& x, const Dims& permutation, Loc loc = Loc::current());
Val Transpose(const Val& x, Loc loc = Loc::current());
Val Concatenate(const std::vector<Val>& parts, int64_t axis, Loc loc = Loc::current());
// x[start[0]:limit[0], ...].
Val Slice(const Val& x, const Dims& start, const Dims& limit, Loc loc = Loc::current());
// x[..., start:limit, ...] along one axis.
Val SliceAxis(const Val& x, int64_t axis, int64_t start, int64_t limit, Loc loc = Loc::current());
// numpy.roll along one axis by an s32 scalar.
Val Roll(const Val& x, Arg amount, int64_t axis);
// numpy.take_along_axis within one tile: the source has 8 rows (axis 0) or 128 lanes (axis 1) along
// `axis`; 32-bit elements, s32 indices.
Val TakeAlongAxis(const Val& x, const Val& indices, int64_t axis, Loc loc = Loc::current());

struct ReduceOptions {
  bool keep_dims = false;  // leave size 1 where a dimension was reduced
};
// f32, bf16 or s32 (Min: floats). Reducing lanes without keep_dims moves data and fails on v2 to
// v4.
Val Sum(const Val& x, const Dims& axes, ReduceOptions options = {}, Loc loc = Loc::current());
Val ReduceMax(const Val& x, const Dims& axes, ReduceOptions options = {}, Loc loc = Loc::current());
Val ReduceMin(const Val& x, const Dims& axes, ReduceOptions options = {}, Loc loc = Loc::current());

enum class DotPrecision : uint8_t {
  kDefault,  // one bf16 pass on the matrix unit
  kHighest,  // f32 operands in full
};
struct DotOptions {
  bool transpose_lhs = false;  // lhs is [K, M]
  bool transpose_rhs = false;  // rhs is [N, K]
  DotPrecision precision = DotPrecision::kDefault;
  Val acc = {};  // added to the product; zeros by default
};
// [M, K] x [K, N] -> [M, N]: f32 from floats, s32 from integers. Operands of one element type.
Val Dot(const Val& lhs, const Val& rhs, const DotOptions& options = {}, Loc loc = Loc::current());

// Promises that an s32 scalar is a multiple, for slices at dynamic offsets. Not checked.
Val AssumeMultiple(const Val& x, int64_t multiple, Loc loc = Loc::current());

// The core's own random numbers: seeds by one or two s32 scalars, then draws s32 bits. The
// interpreter draws others than a TPU.
void PrngSeed(const std::vector<Val>& seeds, Loc loc = Loc::current());
Val PrngBits(const Dims& dims, Loc loc = Loc::current());

}  // namespace sophia::pallas
