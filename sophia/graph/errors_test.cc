// Every op function refuses operands that do not fit and names the line that called it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/gather_ops.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/graph/ops/sort_ops.h"
#include "sophia/graph/ops/special_ops.h"

namespace sophia {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using In = std::span<const Tensor>;
using Out = std::vector<Tensor>;

// The operands of the cases.
struct Operands {
  Tensor x;      // f32[2, 3]
  Tensor wide;   // f32[4, 5]
  Tensor half;   // bf16[2, 3]
  Tensor index;  // s32[2]
  Tensor flag;   // bool[2, 3]
};

struct BadCall {
  int line = 0;
  std::string message;  // a part of it
  std::function<void(const Operands&)> call;
};

BadCall Bad(std::string message, std::function<void(const Operands&)> call,
            int line = __builtin_LINE()) {
  return {line, std::move(message), std::move(call)};
}

std::vector<BadCall> ElementwiseCalls() {
  return {
      Bad("add: expected operands of one element type", [](const Operands& o) { o.x + o.half; }),
      Bad("add: expected sizes that broadcast", [](const Operands& o) { o.x + o.wide; }),
      Bad("and: expected bool or integer", [](const Operands& o) { And(o.x, o.x); }),
      Bad("pow: expected float operands", [](const Operands& o) { Pow(o.index, o.index); }),
      Bad("exp: expected a float operand", [](const Operands& o) { Exp(o.index); }),
      Bad("neg: expected a numeric operand", [](const Operands& o) { Neg(o.flag); }),
      Bad("not: expected a bool or integer", [](const Operands& o) { Not(o.x); }),
      Bad("compare: expected operands of one", [](const Operands& o) { Lt(o.x, o.half); }),
      Bad("select: expected a bool", [](const Operands& o) { Select(o.x, o.x, o.x); }),
      Bad("clamp: expected operands of one shape",
          [](const Operands& o) { Clamp(Scalar(DType::kBF16, 0), o.x, 1.0); }),
  };
}

std::vector<BadCall> ShapeCalls() {
  return {
      Bad("constant: expected 24 bytes",
          [](const Operands&) {
            ConstantF32({2, 3}, {1});
          }),
      Bad("iota: expected an axis",
          [](const Operands&) {
            Iota({DType::kS32, {3}}, 1);
          }),
      Bad("bitcast_convert: expected a last",
          [](const Operands& o) { BitcastConvert(o.half, DType::kF32); }),
      Bad("broadcast_in_dim: expected f32[2, 3] to fit",
          [](const Operands& o) {
            BroadcastTo(o.x, {4, 3});
          }),
      Bad("reshape: expected sizes with 6",
          [](const Operands& o) {
            Reshape(o.x, {4, 2});
          }),
      Bad("transpose: expected a permutation",
          [](const Operands& o) {
            Transpose(o.x, {0, 0});
          }),
      Bad("reverse: expected an axis", [](const Operands& o) { Reverse(o.x, {2}); }),
      Bad("concatenate: expected parts",
          [](const Operands& o) {
            Concatenate({o.x, o.wide}, 0);
          }),
      Bad("concatenate: expected at least", [](const Operands&) { Concatenate({}, 0); }),
      Bad("pad: expected a scalar of type",
          [](const Operands& o) {
            Pad(o.x, o.index, {0, 0}, {0, 0}, {0, 0});
          }),
      Bad("pad: expected sizes of at least 0",
          [](const Operands& o) {
            Pad(o.x, Scalar(DType::kF32, 0), {-3, 0}, {0, 0}, {0, 0});
          }),
      Bad("slice: expected bounds within",
          [](const Operands& o) {
            Slice(o.x, {0, 1}, {2, 4});
          }),
      Bad("dynamic_slice: expected",
          [](const Operands& o) {
            DynamicSlice(o.x, {}, {1, 1});
          }),
      Bad("dynamic_update_slice: expected an update within",
          [](const Operands& o) {
            const Tensor start = Scalar(DType::kS32, 0);
            DynamicUpdateSlice(o.x, o.wide, {start, start});
          }),
      Bad("take: expected an axis", [](const Operands& o) { Take(o.x, o.index, 2); }),
      Bad("gather: expected integer indices", [](const Operands& o) { Take(o.x, o.x, 0); }),
      Bad("take_along_axis: expected indices",
          [](const Operands& o) { TakeAlongAxis(o.x, o.index, 0); }),
      Bad("scatter: expected updates",
          [](const Operands& o) {
            Scatter(o.x, o.index, o.wide,
                    {.offset_dims = {1},
                     .collapsed_slice_dims = {0},
                     .start_index_map = {0},
                     .index_vector_dim = 1},
                    ScatterMode::kAdd);
          }),
  };
}

std::vector<BadCall> OtherCalls() {
  return {
      Bad("reduce_sum: expected an axis", [](const Operands& o) { Sum(o.x, {2}); }),
      Bad("reduce_sum: expected each axis once",
          [](const Operands& o) {
            Sum(o.x, {1, -1});
          }),
      Bad("reduce_and: expected a bool", [](const Operands& o) { All(o.x, {0}); }),
      Bad("dot_general: expected operands", [](const Operands& o) { MatMul(o.x, o.wide); }),
      Bad("matmul: expected a rank-2 weight", [](const Operands& o) { MatMul(o.x, o.index); }),
      Bad("sort: expected operands of one size",
          [](const Operands& o) {
            Sort({o.x, o.wide});
          }),
      Bad("sort: expected at least one", [](const Operands&) { Sort({}); }),
      Bad("rng_bit_generator: expected a state",
          [](const Operands& o) {
            RngBitGenerator(o.x, {DType::kU32, {2}});
          }),
      Bad("sharding_constraint: expected a graph with a mesh",
          [](const Operands& o) { ShardingConstraint(o.x, {}); }),
      Bad("case: expected an index s32[]",
          [](const Operands& o) { Case(o.x, {[] { return Out{}; }}); }),
      Bad("case: expected at least one", [](const Operands&) { Case(Scalar(DType::kS32, 0), {}); }),
      Bad("scan: expected xs or a length",
          [](const Operands& o) {
            Scan([](In c, In) -> ScanStep { return {{c[0]}}; }, {o.x}, {});
          }),
      Bad("scan: expected xs with a leading",
          [](const Operands& o) {
            Scan([](In, In) -> ScanStep { return {}; }, {}, {o.x, o.wide});
          }),
      Bad("scan: expected a body that returns 1",
          [](const Operands& o) { Scan([](In, In) -> ScanStep { return {}; }, {o.x}, {o.x}); }),
      Bad("scan: expected a body that returns the carry",
          [](const Operands& o) {
            Scan([](In, In xs) -> ScanStep { return {{xs[0]}}; }, {o.x}, {o.x});
          }),
      Bad("while: expected a condition",
          [](const Operands& o) {
            While([](In s) { return s[0]; }, [](In s) { return Out{s[0]}; }, {o.x});
          }),
  };
}

TEST(ErrorsTest, NameTheCallSite) {
  std::vector<BadCall> calls = ElementwiseCalls();
  for (const auto& more : {ShapeCalls(), OtherCalls()}) {
    calls.insert(calls.end(), more.begin(), more.end());
  }
  for (const BadCall& bad : calls) {
    Graph graph;
    const Tracing tracing(graph);
    const auto input = [&](DType dtype, const Dims& dims) {
      return graph.AddInput({dtype, dims}, {});
    };
    const Operands operands{input(DType::kF32, {2, 3}), input(DType::kF32, {4, 5}),
                            input(DType::kBF16, {2, 3}), input(DType::kS32, {2}),
                            input(DType::kBool, {2, 3})};
    EXPECT_THAT([&] { bad.call(operands); },
                ThrowsMessage<Error>(AllOf(HasSubstr(bad.message), HasSubstr("[" __FILE__ ":"))))
        << "of line " << bad.line;
  }
}

}  // namespace
}  // namespace sophia
