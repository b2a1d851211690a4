#include <cmath>
#include <cstring>
#include <limits>

#include "sophia/base/float_bits.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/op_lists.h"
#include "sophia/graph/ops/op_util.h"

namespace sophia {
namespace {

using Bytes = std::shared_ptr<const std::vector<std::byte>>;

std::string Hex(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string text = "\"0x";
  text.reserve(bytes.size() * 2 + 4);
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<size_t>(byte >> 4)];
    text += kDigits[std::to_integer<size_t>(byte & std::byte{15})];
  }
  return text + '"';
}

// MLIR's literal for one number; infinities and NaN are written as their bits.
std::string Number(double value, DType dtype) {
  if (dtype == DType::kBool) return value != 0 ? "true" : "false";
  if (!IsFloat(dtype)) {
    return Info(dtype).kind == DTypeKind::kUnsigned
               ? fmt::format("{}", static_cast<uint64_t>(value))
               : fmt::format("{}", static_cast<int64_t>(value));
  }
  const auto narrow = static_cast<float>(value);
  if (std::isfinite(value)) {
    return dtype == DType::kF64 ? fmt::format("{:.16e}", value) : fmt::format("{:.8e}", narrow);
  }
  switch (dtype) {
    case DType::kF64:
      return fmt::format("0x{:016X}", std::bit_cast<uint64_t>(value));
    case DType::kF32:
      return fmt::format("0x{:08X}", std::bit_cast<uint32_t>(narrow));
    case DType::kF16:
      return fmt::format("0x{:04X}", FloatToF16(narrow));
    case DType::kBF16:
      return fmt::format("0x{:04X}", FloatToBf16(narrow));
    case DType::kF8E5M2:
      return fmt::format("0x{:02X}", FloatToF8E5M2(narrow));
    default:
      return fmt::format("0x{:02X}", FloatToF8E4M3FN(narrow));
  }
}

std::string TensorType(const Shape& shape) {
  std::string text = "tensor<";
  for (const int64_t dim : shape.dims) text += fmt::format("{}x", dim);
  return text + std::string(Info(shape.dtype).mlir) + ">";
}

Shape ShapeAttr(const Attrs& attrs) { return {attrs.Get<DType>("dtype"), attrs.Get<Dims>("dims")}; }

constinit const OpDef kConstant = Op({
    .name = "constant",
    .mlir = "stablehlo.constant",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> {
      const Shape shape = ShapeAttr(args.attrs);
      if (Info(shape.dtype).bits < 8)
        args.Fail("expected a type of whole bytes, got {}", ToString(shape));
      const auto size = static_cast<int64_t>(args.attrs.Get<Bytes>("bytes")->size());
      if (shape.bytes() != size) {
        args.Fail("expected {} bytes for {}, got {}", shape.bytes(), ToString(shape), size);
      }
      return {shape};
    },
    .gradient = OpDef::Gradient::kNone,
    .attributes =
        [](const Node& node) {
          const Shape& shape = node.results[0];
          const auto& bytes = *node.attrs.Get<Bytes>("bytes");
          if (shape.dtype == DType::kBool) {
            std::string list;
            for (const std::byte byte : bytes) {
              list += list.empty() ? "" : ", ";
              list += byte != std::byte{0} ? "true" : "false";
            }
            return fmt::format("value = dense<[{}]> : {}", list, TensorType(shape));
          }
          return fmt::format("value = dense<{}> : {}", bytes.empty() ? "" : Hex(bytes),
                             TensorType(shape));
        },
    .cheap = true,
    .samples =
        [] {
          return std::vector<OpSample>{{.name = "constant", .call = [](std::span<const Tensor>) {
                                          return std::vector{ConstantF32({2, 2}, {1, 2.5, -3, 0}),
                                                             ConstantS32({3}, {1, -2, 3})};
                                        }}};
        },
});

constinit const OpDef kFull = Op({
    .name = "full",
    .mlir = "stablehlo.constant",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> { return {ShapeAttr(args.attrs)}; },
    .gradient = OpDef::Gradient::kNone,
    .attributes =
        [](const Node& node) {
          const Shape& shape = node.results[0];
          return fmt::format("value = dense<{}> : {}",
                             Number(node.attrs.Get<double>("value"), shape.dtype),
                             TensorType(shape));
        },
    .cheap = true,
    .samples =
        [] {
          return std::vector<OpSample>{
              {.name = "full", .call = [](std::span<const Tensor>) {
                 return std::vector{
                     Full({DType::kF32, {2, 3}}, 0.1), Full({DType::kBF16, {2}}, 3.14159),
                     Full({DType::kF32, {}}, -std::numeric_limits<double>::infinity()),
                     Full({DType::kS32, {2}}, -7), Full({DType::kBool, {2}}, 1)};
               }}};
        },
});

constinit const OpDef kIota = Op({
    .name = "iota",
    .mlir = "stablehlo.iota",
    .shape = [](const ShapeArgs& args) -> std::vector<Shape> { return {ShapeAttr(args.attrs)}; },
    .gradient = OpDef::Gradient::kNone,
    .attributes =
        [](const Node& node) {
          return fmt::format("iota_dimension = {} : i64", node.attrs.Get<int64_t>("axis"));
        },
    .cheap = true,
    .samples =
        [] {
          return std::vector<OpSample>{{.name = "iota", .call = [](std::span<const Tensor>) {
                                          return std::vector{Iota({DType::kS32, {3, 4}}, 1),
                                                             Iota({DType::kF32, {3, 4}}, -2)};
                                        }}};
        },
});

template <typename T>
Tensor ConstantOf(DType dtype, const Dims& dims, const std::vector<T>& values, Loc loc) {
  return Constant({dtype, dims}, std::as_bytes(std::span(values)), loc);
}

}  // namespace

Tensor Constant(const Shape& shape, std::span<const std::byte> bytes, Loc loc) {
  const Bytes copy = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
  return Apply(kConstant, {}, {{"dtype", shape.dtype}, {"dims", shape.dims}, {"bytes", copy}}, loc);
}

Tensor ConstantF32(const Dims& dims, const std::vector<float>& values, Loc loc) {
  return ConstantOf(DType::kF32, dims, values, loc);
}

Tensor ConstantS32(const Dims& dims, const std::vector<int32_t>& values, Loc loc) {
  return ConstantOf(DType::kS32, dims, values, loc);
}

Tensor Full(const Shape& shape, double value, Loc loc) {
  return Apply(kFull, {}, {{"dtype", shape.dtype}, {"dims", shape.dims}, {"value", value}}, loc);
}

Tensor Scalar(DType dtype, double value, Loc loc) { return Full({dtype, {}}, value, loc); }

Tensor FullLike(const Tensor& like, double value, Loc loc) {
  return Full(like.shape(), value, loc);
}

Tensor ZerosLike(const Tensor& like, Loc loc) { return FullLike(like, 0, loc); }
Tensor OnesLike(const Tensor& like, Loc loc) { return FullLike(like, 1, loc); }

Tensor Iota(const Shape& shape, int64_t axis, Loc loc) {
  const int64_t checked = CheckedAxis(axis, shape.rank(), "iota", loc);
  return Apply(kIota, {}, {{"dtype", shape.dtype}, {"dims", shape.dims}, {"axis", checked}}, loc);
}

namespace ops {

std::vector<const OpDef*> CreationOps() { return {&kConstant, &kFull, &kIota}; }

}  // namespace ops
}  // namespace sophia
