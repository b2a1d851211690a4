// Ops that change the element type.
#include "sophia/graph/ops/op_lists.h"
#include "sophia/graph/ops/op_util.h"
#include "sophia/graph/ops/shape_ops.h"

namespace sophia {
namespace {

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;

constinit const OpDef kConvert = Op({
    .name = "convert",
    .mlir = "stablehlo.convert",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      return {{args.attrs.Get<DType>("dtype"), args.inputs[0].dims}};
    },
    .vjp = [](VjpContext& c) { c.Add(0, Convert(c.Grad(0), c.InShape(0).dtype)); },
    .samples =
        [] {
          std::vector<OpSample> samples;
          for (const DType to : {DType::kBF16, DType::kF16, DType::kS32, DType::kS8, DType::kBool,
                                 DType::kF8E4M3FN, DType::kF8E5M2}) {
            samples.push_back({.name = fmt::format("convert/f32/{}", Name(to)),
                               .inputs = {{DType::kF32, {3, 5}}},
                               .call = [to](In in) { return Out{Convert(in[0], to)}; },
                               .step = 0.25,
                               .tolerance = Info(to).bits == 8 ? 0.2 : 0.02});
          }
          for (const auto& [from, to] :
               std::vector<std::pair<DType, DType>>{{DType::kS32, DType::kF32},
                                                    {DType::kS32, DType::kU8},
                                                    {DType::kS32, DType::kBool},
                                                    {DType::kU8, DType::kBF16},
                                                    {DType::kBool, DType::kF32},
                                                    {DType::kU8, DType::kS32},
                                                    {DType::kBF16, DType::kF32},
                                                    {DType::kBF16, DType::kF16},
                                                    {DType::kF16, DType::kBF16},
                                                    {DType::kF8E4M3FN, DType::kBF16},
                                                    {DType::kF8E5M2, DType::kF32}}) {
            samples.push_back({.name = fmt::format("convert/{}/{}", Name(from), Name(to)),
                               .inputs = {{from, {4, 3}}},
                               .call = [to = to](In in) { return Out{Convert(in[0], to)}; },
                               .low = 0,
                               .high = 9});
          }
          return samples;
        },
});

constinit const OpDef kBitcastConvert = Op({
    .name = "bitcast_convert",
    .mlir = "stablehlo.bitcast_convert",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      const Shape& in = args.inputs[0];
      Shape out{args.attrs.Get<DType>("dtype"), in.dims};
      const int from = Info(in.dtype).bits;
      const int to = Info(out.dtype).bits;
      if (from > to) out.dims.push_back(from / to);
      if (from < to) {
        if (in.dims.empty() || in.dims.back() * from != to) {
          args.Fail("expected a last dimension of {} to make {}, got {}", to / from,
                    Name(out.dtype), ToString(in));
        }
        out.dims.pop_back();
      }
      return {out};
    },
    .gradient = OpDef::Gradient::kNone,
    .cheap = true,
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "bitcast_convert/f32/s32",
               .inputs = {{DType::kF32, {3}}},
               .call = [](In in) { return Out{BitcastConvert(in[0], DType::kS32)}; }},
              {.name = "bitcast_convert/u8/u16",
               .inputs = {{DType::kU8, {3, 2}}},
               .call = [](In in) { return Out{BitcastConvert(in[0], DType::kU16)}; },
               .low = 0,
               .high = 255},
              {.name = "bitcast_convert/u32/u8",
               .inputs = {{DType::kU32, {3}}},
               .call = [](In in) { return Out{BitcastConvert(in[0], DType::kU8)}; },
               .low = 0,
               .high = 1e6}};
        },
});

}  // namespace

Tensor Convert(const Tensor& x, DType dtype, Loc loc) {
  return x.dtype() == dtype ? x : Apply(kConvert, {x}, {{"dtype", dtype}}, loc);
}

Tensor BitcastConvert(const Tensor& x, DType dtype, Loc loc) {
  return Apply(kBitcastConvert, {x}, {{"dtype", dtype}}, loc);
}

namespace ops {

std::vector<const OpDef*> TypeOps() { return {&kConvert, &kBitcastConvert}; }

}  // namespace ops
}  // namespace sophia
