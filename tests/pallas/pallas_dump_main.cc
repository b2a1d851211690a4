// pallas_dump write FOLDER: writes every test kernel as FOLDER/NAME.mlir for tools/mosaic.
// pallas_dump interpret FOLDER: runs them interpreted on the CPU plugin and writes
// FOLDER/NAME.safetensors
//   with in/0, ... and out/0, ... as f32 or s32.
// pallas_dump compile CHIP: compiles those that the chip takes by libtpu and prints a line for
// each.
// pallas_dump refused CHIP: the same for kernels that libtpu refuses.
#include <cstdio>
#include <filesystem>
#include <span>

#include "sophia/base/file.h"
#include "sophia/io/safetensors.h"
#include "sophia/pallas/mosaic.h"
#include "tests/pallas/run.h"

namespace sophia::pallas {
namespace {

std::vector<TestKernel> AllTestKernels() {
  std::vector<TestKernel> kernels = SampleKernels();
  for (TestKernel& kernel : OpKernels()) kernels.push_back(std::move(kernel));
  return kernels;
}

void Write(const std::filesystem::path& folder) {
  for (const TestKernel& test : AllTestKernels()) {
    const Kernel kernel = TraceKernel(test.spec, test.body, test.inputs);
    WriteFile(folder / (test.name + ".mlir"), KernelFile(kernel));
  }
}

void WriteInterpreted(const std::filesystem::path& folder) {
  const auto client =
      pjrt::Client::Create(pjrt::Plugin::Load(SOPHIA_DEPS_DIR "/plugins/pjrt_cpu.so"));
  for (const TestKernel& test : AllTestKernels()) {
    const std::vector<HostTensor> inputs = RandomInputs(test, 3);
    const std::vector<HostTensor> outputs = RunKernel(*client, test, {Mode::kInterpret}, inputs)[0];
    std::vector<io::TensorView> views;
    for (size_t i = 0; i < inputs.size(); ++i) {
      views.push_back({fmt::format("in/{}", i), inputs[i].shape, inputs[i].bytes()});
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      views.push_back({fmt::format("out/{}", i), outputs[i].shape, outputs[i].bytes()});
    }
    io::WriteSafetensors(folder / (test.name + ".safetensors"), views);
  }
}

void Compile(const std::string& name, const std::vector<TestKernel>& kernels) {
  const std::optional<Chip> chip = ChipFromName(name);
  if (!chip) Fail("pallas_dump", "expected a chip, got {}", name);
  const pjrt::Topology topology = pjrt::Topology::Create(
      pjrt::Plugin::Load(SOPHIA_DEPS_DIR "/plugins/libtpu.so"), Info(*chip).topology);
  for (const TestKernel& test : kernels) {
    if (test.from > *chip) continue;
    Graph graph;
    {
      const Tracing tracing(graph);
      std::vector<Tensor> inputs;
      for (const Shape& shape : test.inputs) inputs.push_back(graph.AddInput(shape, {.name = "x"}));
      const CallOptions options{.mode = Mode::kMosaic, .chip = chip};
      for (const Tensor& output : PallasCall(test.spec, test.body, inputs, options)) {
        graph.AddOutput(output, {.name = "y"});
      }
    }
    std::printf("%s ", test.name.c_str());
    std::fflush(stdout);
    try {
      CompileAheadOfTime(topology, graph);
      std::printf("ok\n");
    } catch (const std::exception& error) {
      std::printf("%s\n", error.what());
    }
  }
}

}  // namespace
}  // namespace sophia::pallas

int main(int argc, char** argv) {
  const std::span<char*> arguments(argv, static_cast<size_t>(argc));
  const std::string command = arguments.size() == 3 ? arguments[1] : "";
  try {
    if (command == "write") {
      sophia::pallas::Write(arguments[2]);
    } else if (command == "interpret") {
      sophia::pallas::WriteInterpreted(arguments[2]);
    } else if (command == "compile") {
      sophia::pallas::Compile(arguments[2], sophia::pallas::AllTestKernels());
    } else if (command == "refused") {
      sophia::pallas::Compile(arguments[2], sophia::pallas::RefusedKernels());
    } else {
      std::fprintf(stderr,
                   "usage: pallas_dump write FOLDER | interpret FOLDER | compile CHIP | "
                   "refused CHIP\n");
      return 2;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
