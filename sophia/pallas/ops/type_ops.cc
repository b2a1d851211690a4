// Kernel ops that change the element type.
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/pallas/ops/op_util.h"

namespace sophia::pallas {
namespace {

bool Exists(DType dtype) {
  const int bits = Info(dtype).bits;
  return bits <= 32 && dtype != DType::kF16;
}

DType ResultType(const Instr& instr) { return instr.attrs.Get<DType>("dtype"); }

// The Mosaic cast between two element types; empty where the bits stay.
std::string_view CastName(DType from, DType to) {
  const DTypeInfo& source = Info(from);
  const DTypeInfo& target = Info(to);
  const bool is_unsigned = source.kind != DTypeKind::kSigned;
  if (IsFloat(from) && IsFloat(to))
    return source.bits < target.bits ? "arith.extf" : "arith.truncf";
  if (IsFloat(to)) return is_unsigned ? "arith.uitofp" : "arith.sitofp";
  if (IsFloat(from)) {
    return target.kind == DTypeKind::kSigned ? "arith.fptosi" : "arith.fptoui";
  }
  if (from == DType::kBool) return "arith.extui";
  if (source.bits == target.bits) return "";
  if (source.bits > target.bits) return "arith.trunci";
  return is_unsigned ? "arith.extui" : "arith.extsi";
}

constinit const KernelOp kConvert = Op({
    .name = "convert",
    .print =
        [](const Instr& instr, MosaicWriter& writer) {
          const Val& x = instr.inputs[0];
          const Val result(const_cast<Instr*>(&instr), 0);
          const std::string_view cast = CastName(x.dtype(), result.dtype());
          const std::string type = MosaicWriter::Type(result.shape());
          writer.Bind(result,
                      cast.empty() ? writer.Get(x) : writer.Emit(cast, {writer.Get(x)}, "", type));
        },
    .type = [](const Instr& instr) -> std::vector<Shape> {
      const Shape& x = instr.inputs[0].shape();
      const DType to = ResultType(instr);
      if (!Exists(to) || to == DType::kBool) {
        FailIn(instr,
               "expected a type that TPU kernels convert to (f32, bf16, f8, integers up to 32 "
               "bits), got {}",
               Name(to));
      }
      return {{to, x.dims}};
    },
    .interpret =
        [](const Instr& instr, Interpreter& in) {
          return std::vector{sophia::Convert(in.In(instr, 0), ResultType(instr), instr.loc)};
        },
    .lacks = [](const Instr& instr, const ChipInfo& chip) -> std::string {
      const bool is_narrow =
          Info(ResultType(instr)).bits == 4 || Info(instr.inputs[0].dtype()).bits == 4;
      return is_narrow && !chip.int4 ? "expected types of at least 8 bits, got a 4-bit one" : "";
    },
});

// Another width scales the second-last dimension, or the only one.
constinit const KernelOp kBitcast = Op({
    .name = "bitcast",
    .mosaic = {"tpu.bitcast", "tpu.bitcast", "tpu.bitcast"},
    .type = [](const Instr& instr) -> std::vector<Shape> {
      const Shape& x = instr.inputs[0].shape();
      CheckElements(instr, x.dtype);
      const DType to = ResultType(instr);
      const int from_bits = Info(x.dtype).bits;
      const int to_bits = Info(to).bits;
      Dims dims = x.dims;
      if (from_bits != to_bits) {
        if (dims.size() < 2 || dims[dims.size() - 2] * from_bits % to_bits != 0) {
          FailIn(instr, "expected rows of {} that fill whole {} elements, got {}", Name(x.dtype),
                 Name(to), ToString(x));
        }
        dims[dims.size() - 2] = dims[dims.size() - 2] * from_bits / to_bits;
      }
      return {{to, dims}};
    },
    .interpret =
        [](const Instr& instr, Interpreter& in) {
          const Tensor& x = in.In(instr, 0);
          const DType to = ResultType(instr);
          const int64_t from_bits = Info(x.dtype()).bits;
          const int64_t to_bits = Info(to).bits;
          if (from_bits == to_bits) return std::vector{BitcastConvert(x, to, instr.loc)};
          Dims dims = x.dims();
          const int64_t rank = x.rank();
          Dims swap(static_cast<size_t>(rank) + 1);
          for (int64_t i = 0; i < rank; ++i) swap[static_cast<size_t>(i)] = i;
          swap[static_cast<size_t>(rank) - 1] = rank;
          swap[static_cast<size_t>(rank)] = rank - 1;
          if (from_bits > to_bits) {
            const Tensor split =
                sophia::Transpose(BitcastConvert(x, to, instr.loc), swap, instr.loc);
            return std::vector{sophia::Reshape(split, instr.results[0].dims, instr.loc)};
          }
          const int64_t group = to_bits / from_bits;
          dims[static_cast<size_t>(rank) - 2] /= group;
          dims.insert(dims.end() - 1, group);
          const Tensor grouped =
              sophia::Transpose(sophia::Reshape(x, dims, instr.loc), swap, instr.loc);
          return std::vector{BitcastConvert(grouped, to, instr.loc)};
        },
    .int_bits = 4,
});

constinit const KernelOp kStochasticRound = Op({
    .name = "stochastic_round",
    .mosaic = {.on_float = "tpu.stochastic_convert"},
    .type = [](const Instr& instr) -> std::vector<Shape> {
      const Shape& x = instr.inputs[0].shape();
      if (x.dtype != DType::kF32 || instr.inputs[1].shape() != Shape{DType::kS32, x.dims}) {
        FailIn(instr, "expected f32 values and s32 bits of one shape, got {} and {}", ToString(x),
               ToString(instr.inputs[1].shape()));
      }
      return {{DType::kBF16, x.dims}};
    },
    .interpret =
        [](const Instr& instr, Interpreter& in) {
          const Tensor bits = BitcastConvert(in.In(instr, 0), DType::kU32, instr.loc);
          const Tensor noise =
              sophia::And(BitcastConvert(in.In(instr, 1), DType::kU32, instr.loc), 65535.0);
          const Tensor kept = sophia::And(bits + noise, 4294901760.0);
          return std::vector{sophia::Convert(BitcastConvert(kept, DType::kF32, instr.loc),
                                             DType::kBF16, instr.loc)};
        },
    .lacks = [](const Instr& /*instr*/, const ChipInfo& chip) -> std::string {
      return chip.stochastic_round ? ""
                                   : "expected v5e or later; add bits to the bitcast value instead";
    },
});

}  // namespace

Val Convert(const Val& x, DType dtype, Loc loc) {
  if (x.dtype() == dtype) return x;
  if (x.dtype() == DType::kBool && dtype != DType::kS32 && dtype != DType::kU32) {
    return Convert(Convert(x, DType::kS32, loc), dtype, loc);
  }
  return Apply(kConvert, {x}, {{"dtype", dtype}}, loc);
}

Val Bitcast(const Val& x, DType dtype, Loc loc) {
  return x.dtype() == dtype ? x : Apply(kBitcast, {x}, {{"dtype", dtype}}, loc);
}

Val StochasticRound(const Val& x, const Val& bits, Loc loc) {
  return Apply(kStochasticRound, {x, bits}, {}, loc);
}

std::vector<const KernelOp*> TypeOps() { return {&kConvert, &kBitcast, &kStochasticRound}; }

}  // namespace sophia::pallas
