// Kernels on which libtpu dies instead of refusing them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/base/json.h"
#include "sophia/base/strings.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/pallas/mosaic.h"
#include "sophia/pallas/pallas_call.h"
#include "sophia/plan/measure.h"

namespace sophia::plan {
namespace {

using pallas::Kernel;
using pallas::KernelRefs;
using pallas::KernelSpec;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const Shape kTile = {DType::kF32, {8, 128}};

KernelSpec Whole(std::string name) {
  return {.name = std::move(name), .in_specs = {{}}, .out_shapes = {kTile}, .out_specs = {{}}};
}

void Copy(const KernelRefs& r) { r.out[0].Store(r.in[0].Load()); }

// A kernel whose text lacks the type of its function: libtpu reads it without a check.
Tensor WithoutType(const Tensor& x) {
  const Kernel kernel = pallas::TraceKernel(Whole("broken"), Copy, {kTile});
  std::string text = pallas::MosaicText(kernel);
  const size_t start = text.find(", function_type");
  text.erase(start, text.find("()}", start) + 2 - start);
  Json config = Json::parse(pallas::BackendConfig(kernel));
  config["custom_call_config"]["body"] = Base64(text);
  return CustomCall("tpu_custom_call", {x}, {kTile},
                    {.backend_config = Dump(config), .name = "broken"})[0];
}

TEST(KernelCrashTest, NamesTheKernelThatKillsTheCompiler) {
  const Target target = FindTarget("v5e:1x1", std::nullopt);
  const auto compile = [&](bool with_broken) {
    Graph graph;
    const Tensor x = graph.AddInput(kTile, {.name = "x"});
    {
      const Tracing tracing(graph);
      Tensor y =
          pallas::PallasCall(Whole("sound"), Copy, {Sin(x)}, {.mode = pallas::Mode::kMosaic})[0];
      if (with_broken) y = WithoutType(y);
      graph.AddOutput(y, {.name = "y"});
    }
    return CompileForTpu(target, graph, nullptr);
  };
  EXPECT_TRUE(compile(false).complete);
  EXPECT_THAT([&] { compile(true); },
              ThrowsMessage<Error>(AllOf(
                  HasSubstr("kernel_crash_test.cc:"),
                  HasSubstr("kernel 'broken': expected what libtpu compiles, got a compiler that "
                            "dies on this kernel alone ([v5e:1x1] expected a compiler that ends, "
                            "got signal"))));
}

}  // namespace
}  // namespace sophia::plan
