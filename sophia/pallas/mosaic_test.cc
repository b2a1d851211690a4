#include "sophia/pallas/mosaic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/base/json.h"
#include "sophia/base/strings.h"
#include "sophia/graph/printer.h"
#include "sophia/pallas/pallas_call.h"

namespace sophia::pallas {
namespace {

using testing::HasSubstr;
using testing::Not;

KernelSpec ScaleSpec() {
  const BlockSpec rows{.block = {8, 128}, .index_map = [](const GridIndex& i) {
                         return BlockIndex{i[0], 0};
                       }};
  return {.name = "scale",
          .grid = {2},
          .dimension_semantics = {DimensionSemantics::kParallel},
          .in_specs = {rows},
          .out_shapes = {{DType::kF32, {16, 128}}},
          .out_specs = {rows},
          .input_output_aliases = {{0, 0}},
          .cost_estimate = CostEstimate{.flops = 2048},
          .vmem_limit_bytes = 1 << 20};
}

void Scale(const KernelRefs& r) {
  const Val x = r.in[0].Load();
  const Val doubled = x * 2.0;
  r.out[0].Store(doubled);
}

Kernel ScaleKernel() { return TraceKernel(ScaleSpec(), Scale, {{DType::kF32, {16, 128}}}); }

constexpr std::string_view kScaleText =
    R"(module @scale attributes {stable_mosaic.version = 11 : i64} {
  "stable_mosaic.func.func"() ({
  ^bb0(%0: i32, %ref0: memref<8x128xf32, #tpu.memory_space<vmem>>, %ref1: memref<8x128xf32, #tpu.memory_space<vmem>>):
    %c0 = "stable_mosaic.arith.constant"() {value = 0 : index} : () -> index
    %c1 = "stable_mosaic.arith.constant"() {value = dense<2.00000000e+00> : vector<8x128xf32>} : () -> vector<8x128xf32>
    %1 = "stable_mosaic.vector.load"(%ref0, %c0, %c0) : (memref<8x128xf32, #tpu.memory_space<vmem>>, index, index) -> vector<8x128xf32>
    %2 = "stable_mosaic.arith.mulf"(%1, %c1) : (vector<8x128xf32>, vector<8x128xf32>) -> vector<8x128xf32>
    "stable_mosaic.tpu.vector_store"(%2, %ref1, %c0, %c0) {add = false, operandSegmentSizes = array<i32: 1, 1, 2, 0>, strides = array<i32>} : (vector<8x128xf32>, memref<8x128xf32, #tpu.memory_space<vmem>>, index, index) -> ()
    "stable_mosaic.func.return"() : () -> ()
  }) {dimension_semantics = [#tpu.dimension_semantics<parallel>], iteration_bounds = array<i64: 2>, scalar_prefetch = 0 : i64, scratch_operands = 0 : i64, sym_name = "scale", tpu.core_type = #tpu.core_type<tc>, window_params = [{transform_indices = @transform_0, window_bounds = array<i64: 8, 128>}, {transform_indices = @transform_1, window_bounds = array<i64: 8, 128>}], function_type = (i32, memref<8x128xf32, #tpu.memory_space<vmem>>, memref<8x128xf32, #tpu.memory_space<vmem>>) -> ()} : () -> ()
  "stable_mosaic.func.func"() ({
  ^bb0(%0: i32):
    %c0 = "stable_mosaic.arith.constant"() {value = 0 : i32} : () -> i32
    "stable_mosaic.func.return"(%0, %c0) : (i32, i32) -> ()
  }) {sym_name = "transform_0", function_type = (i32) -> (i32, i32)} : () -> ()
  "stable_mosaic.func.func"() ({
  ^bb0(%0: i32):
    %c0 = "stable_mosaic.arith.constant"() {value = 0 : i32} : () -> i32
    "stable_mosaic.func.return"(%0, %c0) : (i32, i32) -> ()
  }) {sym_name = "transform_1", function_type = (i32) -> (i32, i32)} : () -> ()
}
)";

TEST(MosaicTextTest, IsGolden) { EXPECT_EQ(MosaicText(ScaleKernel()), kScaleText); }

TEST(MosaicTextTest, LocationsNameTheKernelsLines) {
  const std::string text = MosaicText(ScaleKernel(), {.locations = true});
  EXPECT_THAT(text, HasSubstr("-> vector<8x128xf32> loc(\"mosaic_test.cc\":"));
  EXPECT_EQ(text, MosaicText(ScaleKernel(), {.locations = true}));
}

TEST(MosaicTextTest, ConstantIndexMapsAreFetchedOnce) {
  KernelSpec spec = ScaleSpec();
  spec.input_output_aliases = {};
  spec.in_specs[0].index_map = nullptr;
  const std::string text = MosaicText(TraceKernel(spec, Scale, {{DType::kF32, {16, 128}}}));
  EXPECT_THAT(text, HasSubstr("{pipeline_mode = #tpu.pipeline_mode<synchronous>, transform_indices "
                              "= @transform_0"));
}

TEST(MosaicTextTest, PromisesWhatLibtpuCannotSee) {
  KernelSpec spec = ScaleSpec();
  const KernelBody body = [](const KernelRefs& r) {
    const Val id = ProgramId(0);
    r.out[0].At({Ds(id * 16 - id * 8 - id * 8, 8)}).Store(1.0);
    r.in[0].At({Ds((id - id) * 8, 8)}).Load();
  };
  const std::string text = MosaicText(TraceKernel(spec, body, {{DType::kF32, {16, 128}}}));
  const std::string_view promise = "\"stable_mosaic.tpu.assume_multiple\"";
  EXPECT_THAT(text, HasSubstr(promise));
  // The product with 8 shows it.
  EXPECT_THAT(text.substr(text.find(promise) + 1), Not(HasSubstr(promise)));
}

TEST(MosaicCallTest, EnvelopeHoldsBodyCostLimitLayoutsAndAliases) {
  const Kernel kernel = ScaleKernel();
  const Json config = ParseJson(BackendConfig(kernel), "config");
  const Json& call = config["custom_call_config"];
  EXPECT_EQ(call["serialization_format"], 1);
  EXPECT_EQ(call["needs_layout_passes"], true);
  EXPECT_EQ(call["cost_estimate"]["flops"], 2048);
  EXPECT_EQ(call["body"], Base64(MosaicText(kernel, {.locations = true})));
  EXPECT_EQ(config["scoped_memory_configs"][0]["size"], 1 << 20);

  Graph graph;
  {
    const Tracing tracing(graph);
    const Tensor x = graph.AddInput({DType::kF32, {16, 128}}, {.name = "x"});
    graph.AddOutput(PallasCall(ScaleSpec(), Scale, {x}, {.mode = Mode::kMosaic})[0], {.name = "y"});
  }
  const std::string text = ToStableHlo(graph);
  EXPECT_THAT(text, HasSubstr("call_target_name = \"tpu_custom_call\""));
  EXPECT_THAT(text, HasSubstr("-> tensor<16x128xf32> loc(\"scale\"(\"mosaic_test.cc\":"));
  EXPECT_THAT(text,
              HasSubstr("operand_layouts = [dense<[1, 0]> : tensor<2xindex>], result_layouts = "
                        "[dense<[1, 0]> : tensor<2xindex>]"));
  EXPECT_THAT(text, HasSubstr("output_operand_aliases = [#stablehlo.output_operand_alias<"
                              "output_tuple_indices = [], operand_index = 0, "
                              "operand_tuple_indices = []>]"));
}

TEST(ChipsTest, NamesRoundTrip) {
  EXPECT_EQ(AllChips().size(), 7u);
  for (const ChipInfo& info : AllChips()) {
    EXPECT_EQ(ChipFromName(info.name), info.chip);
    EXPECT_LE(info.vmem_default, info.vmem_max);
  }
  EXPECT_EQ(ChipFromName("v9"), std::nullopt);
}

}  // namespace
}  // namespace sophia::pallas
