// Kernel ops that make values: constants, counters, random bits; and promises about them.
#include <numeric>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/sort_ops.h"
#include "sophia/pallas/ops/op_util.h"

namespace sophia::pallas {

// A block's parameter: program ids, loop counters and carries. Never in a list of instructions.
constinit const KernelOp kParameter = Op({
    .name = "parameter",
    .print = [](const Instr& /*instr*/, MosaicWriter& /*writer*/) {},
    .type = [](const Instr& instr) { return instr.results; },
    .interpret = [](const Instr& instr, Interpreter& in) { return std::vector{in.In(instr, 0)}; },
});

namespace {

constinit const KernelOp kConstant = Op({
    .name = "constant",
    .print =
        [](const Instr& instr, MosaicWriter& writer) {
          const Shape& shape = instr.results[0];
          const std::string number =
              MosaicWriter::Number(shape.dtype, instr.attrs.Get<double>("value"));
          writer.BindConstant({const_cast<Instr*>(&instr), 0},
                              shape.dims.empty() ? number : fmt::format("dense<{}>", number));
        },
    .type = [](const Instr& instr) -> std::vector<Shape> {
      return {{instr.attrs.Get<DType>("dtype"), instr.attrs.Get<Dims>("dims")}};
    },
    .interpret =
        [](const Instr& instr, Interpreter& /*in*/) {
          const Shape& shape = instr.results[0];
          const double value = instr.attrs.Get<double>("value");
          if (Info(shape.dtype).bits >= 8)
            return std::vector{sophia::Full(shape, value, instr.loc)};
          return std::vector{
              sophia::Convert(sophia::Full({DType::kS32, shape.dims}, value), shape.dtype)};
        },
    .multiple =
        [](const Instr& instr) {
          return IsInteger(instr.results[0].dtype)
                     ? std::abs(static_cast<int64_t>(instr.attrs.Get<double>("value")))
                     : 1;
        },
    .fold =
        [](const Instr& instr, std::span<const int64_t> /*in*/) {
          return static_cast<int64_t>(instr.attrs.Get<double>("value"));
        },
});

constinit const KernelOp kIota = Op({
    .name = "iota",
    .print =
        [](const Instr& instr, MosaicWriter& writer) {
          writer.Bind({const_cast<Instr*>(&instr), 0},
                      writer.Emit("tpu.iota", {},
                                  fmt::format("dimensions = array<i32: {}>",
                                              instr.attrs.Get<int64_t>("axis")),
                                  MosaicWriter::Type(instr.results[0])));
        },
    .type = [](const Instr& instr) -> std::vector<Shape> {
      const Dims& dims = instr.attrs.Get<Dims>("dims");
      if (dims.size() < 2) {
        FailIn(instr, "expected at least two dimensions, got {}; take [1, n] or [n, 1]",
               ToString(dims));
      }
      return {{DType::kS32, dims}};
    },
    .interpret =
        [](const Instr& instr, Interpreter& /*in*/) {
          return std::vector{
              sophia::Iota(instr.results[0], instr.attrs.Get<int64_t>("axis"), instr.loc)};
        },
});

constinit const KernelOp kAssumeMultiple = Op({
    .name = "assume_multiple",
    .mosaic = {.on_signed = "tpu.assume_multiple"},
    .attributes =
        [](const Instr& instr) {
          return fmt::format("multiple = {} : i32", instr.attrs.Get<int64_t>("multiple"));
        },
    .type = [](const Instr& instr) -> std::vector<Shape> {
      if (instr.inputs[0].shape() != Shape{DType::kS32, {}} ||
          instr.attrs.Get<int64_t>("multiple") < 1) {
        FailIn(instr, "expected an s32 scalar and a positive number, got {} and {}",
               ToString(instr.inputs[0].shape()), instr.attrs.Get<int64_t>("multiple"));
      }
      return {instr.inputs[0].shape()};
    },
    .interpret = [](const Instr& instr, Interpreter& in) { return std::vector{in.In(instr, 0)}; },
    .multiple =
        [](const Instr& instr) {
          return std::lcm(instr.inputs[0].instr()->multiple, instr.attrs.Get<int64_t>("multiple"));
        },
    .fold = [](const Instr& /*instr*/, std::span<const int64_t> in) { return in[0]; },
});

}  // namespace

constinit const KernelOp kPrngSeed = Op({
    .name = "prng_seed",
    .print =
        [](const Instr& instr, MosaicWriter& writer) {
          std::vector<MosaicWriter::Operand> seeds;
          for (const Val& seed : instr.inputs) seeds.push_back(writer.Get(seed));
          writer.EmitVoid("tpu.prng_set_seed_32", seeds, "");
        },
    .type = [](const Instr& instr) -> std::vector<Shape> {
      bool fits = instr.inputs.size() == 1 || instr.inputs.size() == 2;
      for (const Val& seed : instr.inputs) fits = fits && seed.shape() == Shape{DType::kS32, {}};
      if (!fits) FailIn(instr, "expected one or two s32 scalars, got {}", instr.inputs.size());
      return {};
    },
    .interpret =
        [](const Instr& instr, Interpreter& in) {
          std::vector<Tensor> seeds;
          for (const Val& seed : instr.inputs) {
            seeds.push_back(sophia::Reshape(
                sophia::Convert(BitcastConvert(in.Get(seed), DType::kU32), DType::kU64), {1}));
          }
          if (seeds.size() == 1) seeds.push_back(sophia::Full({DType::kU64, {1}}, 0));
          in.State(in.random_state()) = sophia::Concatenate(seeds, 0, instr.loc);
          return std::vector<Tensor>{};
        },
});

constinit const KernelOp kPrngBits = Op({
    .name = "prng_bits",
    .print =
        [](const Instr& instr, MosaicWriter& writer) {
          writer.Bind(
              {const_cast<Instr*>(&instr), 0},
              writer.Emit("tpu.prng_random_bits", {}, "", MosaicWriter::Type(instr.results[0])));
        },
    .type = [](const Instr& instr) -> std::vector<Shape> {
      return {{DType::kS32, instr.attrs.Get<Dims>("dims")}};
    },
    .interpret =
        [](const Instr& instr, Interpreter& in) {
          auto [state, bits] = RngBitGenerator(in.State(in.random_state()),
                                               {DType::kU32, instr.results[0].dims}, instr.loc);
          in.State(in.random_state()) = state;
          return std::vector{BitcastConvert(bits, DType::kS32, instr.loc)};
        },
});

bool IsConstant(const Val& val, int64_t* value) {
  if (val.instr()->op != &kConstant) return false;
  if (value != nullptr) *value = static_cast<int64_t>(val.instr()->attrs.Get<double>("value"));
  return true;
}

Val Full(const Shape& shape, double value, Loc loc) {
  return Apply(kConstant, {}, {{"dtype", shape.dtype}, {"dims", shape.dims}, {"value", value}},
               loc);
}

Val Iota(const Dims& dims, int64_t axis, Loc loc) {
  return Apply(
      kIota, {},
      {{"dims", dims}, {"axis", CheckedAxis(axis, static_cast<int64_t>(dims.size()), "iota", loc)}},
      loc);
}

Val AssumeMultiple(const Val& x, int64_t multiple, Loc loc) {
  return Apply(kAssumeMultiple, {x}, {{"multiple", multiple}}, loc);
}

void PrngSeed(const std::vector<Val>& seeds, Loc loc) { AddInstr(kPrngSeed, seeds, {}, loc); }

Val PrngBits(const Dims& dims, Loc loc) { return Apply(kPrngBits, {}, {{"dims", dims}}, loc); }

std::vector<const KernelOp*> SpecialOps() {
  return {&kConstant, &kIota, &kAssumeMultiple, &kPrngSeed, &kPrngBits};
}

}  // namespace sophia::pallas
