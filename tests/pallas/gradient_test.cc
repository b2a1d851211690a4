// Kernels as nodes of a program: in scans and checkpoints, under autodiff, and in libtpu's errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/autodiff/autodiff.h"
#include "sophia/base/error_for_test.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/printer.h"
#include "sophia/pjrt/test_support.h"
#include "tests/pallas/run.h"

namespace sophia::pallas {
namespace {

using testing::HasSubstr;

const Shape kTile{DType::kF32, {8, 128}};

std::vector<Tensor> SinReference(std::span<const Tensor> in) {
  return {sophia::Sin(in[0]) * in[1]};
}

// sin(x) * w
Tensor SinTimes(const Tensor& x, const Tensor& w, const CallOptions& options) {
  const KernelSpec spec{
      .name = "sin_times", .in_specs = {{}, {}}, .out_shapes = {kTile}, .out_specs = {{}}};
  const KernelBody body = [](const KernelRefs& r) {
    r.out[0].Store(Sin(r.in[0].Load()) * r.in[1].Load());
  };
  return PallasCall(spec, body, {x, w}, options)[0];
}

// The gradients of a loss that runs the kernel in a checkpointed scan of three steps.
std::vector<Tensor> ScanGradients(const Tensor& x, const Tensor& w, const CallOptions& options) {
  const auto loss = [&](std::span<const Tensor> p) -> Loss {
    const ScanResult result = Scan(
        [&](std::span<const Tensor> carry, std::span<const Tensor> /*xs*/) -> ScanStep {
          return {Checkpoint(
              [&](std::span<const Tensor> in) {
                return std::vector{SinTimes(in[0], p[1], options)};
              },
              {carry[0]})};
        },
        {p[0]}, {}, {.length = 3, .remat = Remat::Nothing()});
    return {.value = sophia::Sum(result.carry[0])};
  };
  return ValueAndGrad(loss, {x, w}).grads;
}

TEST(KernelGradientTest, InScanAndCheckpointEqualsTheReferences) {
  Graph graph;
  {
    const Tracing tracing(graph);
    const Tensor x = graph.AddInput(kTile, {.name = "x"});
    const Tensor w = graph.AddInput(kTile, {.name = "w"});
    for (const CallOptions& options :
         {CallOptions{.reference = SinReference},
          CallOptions{.mode = Mode::kReference, .reference = SinReference}}) {
      for (const Tensor& grad : ScanGradients(x, w, options)) {
        graph.AddOutput(grad, {.name = "grad"});
      }
    }
  }
  const pjrt::Client& client = pjrt::SharedCpuClient();
  const Program program = Program::Compile(client, graph);
  std::vector<float> values;
  for (int i = 0; i < 1024; ++i) values.push_back(0.001F * static_cast<float>(i) + 0.1F);
  pjrt::Buffer input = pjrt::Buffer::FromHost(client.addressable_devices()[0], kTile, values);
  const std::vector<pjrt::Buffer*> arguments = {&input, &input};
  const auto grads = program.Run(arguments);
  for (size_t i = 0; i < 2; ++i) {
    const auto got = grads[i].ToVector<float>();
    const auto want = grads[i + 2].ToVector<float>();
    for (size_t j = 0; j < got.size(); ++j) ASSERT_NEAR(got[j], want[j], 1e-5F);
    EXPECT_GT(std::abs(want[500]), 1e-3F);
  }
}

TEST(KernelGradientTest, MosaicStepHoldsOneCallEachWay) {
  Graph graph;
  {
    const Tracing tracing(graph);
    const Tensor x = graph.AddInput(kTile, {.name = "x"});
    const CallOptions options{.mode = Mode::kMosaic, .reference = SinReference};
    graph.AddOutput(ScanGradients(x, x, options)[0], {.name = "grad"});
  }
  EXPECT_THAT(ToStableHlo(graph), HasSubstr("tpu_custom_call"));
  const pjrt::Topology topology =
      pjrt::Topology::Create(pjrt::Plugin::Load(pjrt::TpuPlugin()), "v5e:1x1");
  EXPECT_GT(CompileAheadOfTime(topology, graph).MemoryStats().generated_code, 0);
}

TEST(KernelGradientTest, WithoutARuleAndAReferenceItIsAnError) {
  for (const Mode mode : {Mode::kMosaic, Mode::kInterpret}) {
    const std::string message = MessageOf([&] {
      Graph graph;
      const Tracing tracing(graph);
      const Tensor x = graph.AddInput({DType::kF32, {16, 128}}, {.name = "x"});
      const BlockSpec rows{.block = {8, 128}, .index_map = [](const GridIndex& i) {
                             return BlockIndex{i[0], 0};
                           }};
      const KernelSpec spec{.name = "copy",
                            .grid = {2},
                            .in_specs = {rows},
                            .out_shapes = {x.shape()},
                            .out_specs = {rows}};
      ValueAndGrad(
          [&](std::span<const Tensor> p) -> Loss {
            return {sophia::Sum(
                PallasCall(spec, [](const KernelRefs& r) { r.out[0].Store(r.in[0].Load()); },
                           {p[0]}, {.mode = mode})[0])};
          },
          {x});
    });
    EXPECT_THAT(message, HasSubstr("gradient_test.cc:"));
    EXPECT_THAT(message, HasSubstr("kernel 'copy': expected a vjp or a reference to differentiate, "
                                   "got neither"));
  }
}

TEST(PallasCallTest, ReferenceHasToFit) {
  const auto error = [](const CallOptions& options) {
    return MessageOf([&] {
      Graph graph;
      const Tracing tracing(graph);
      const Tensor x = graph.AddInput(kTile, {.name = "x"});
      SinTimes(x, x, options);
    });
  };
  EXPECT_THAT(error({.mode = Mode::kReference}), HasSubstr("expected a reference"));
  EXPECT_THAT(
      error({.mode = Mode::kReference,
             .reference =
                 [](std::span<const Tensor> in) { return std::vector{sophia::Sum(in[0])}; }}),
      HasSubstr("returns tensors of out_shapes"));
  EXPECT_EQ(ModeFromName("interpret"), Mode::kInterpret);
  EXPECT_EQ(ModeFromName("fast"), std::nullopt);
}

// Without a chip the trace cannot know that v2 refuses this; libtpu's error names the line.
TEST(LibtpuErrorTest, NamesTheKernelsLine) {
  const std::string message = MessageOf([] {
    Graph graph;
    {
      const Tracing tracing(graph);
      const Tensor x = graph.AddInput({DType::kF32, {128, 128}}, {.name = "x"});
      const KernelSpec spec{.name = "column_to_row",
                            .in_specs = {{}},
                            .out_shapes = {{DType::kF32, {1, 128}}},
                            .out_specs = {{}}};
      const KernelBody body = [](const KernelRefs& r) {
        const Val column = Sum(r.in[0].Load(), {1}, {.keep_dims = true});
        r.out[0].Store(Reshape(column, {1, 128}));
      };
      graph.AddOutput(PallasCall(spec, body, {x}, {.mode = Mode::kMosaic})[0], {.name = "y"});
    }
    CompileAheadOfTime(pjrt::Topology::Create(pjrt::Plugin::Load(pjrt::TpuPlugin()), "v2:2x2"),
                       graph);
  });
  EXPECT_THAT(message, HasSubstr("[gradient_test.cc:"));
  EXPECT_THAT(message, HasSubstr("kernel 'column_to_row': expected what libtpu compiles, got: "));
}

}  // namespace
}  // namespace sophia::pallas
