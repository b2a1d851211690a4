// pallas_dump write FOLDER: writes every test kernel as FOLDER/NAME.mlir for tools/mosaic.
// pallas_dump compile CHIP: compiles every test kernel that the chip takes by libtpu, one line
// each.
#include <cstdio>
#include <filesystem>
#include <span>

#include "sophia/base/file.h"
#include "sophia/pallas/mosaic.h"
#include "sophia/runtime/program.h"
#include "tests/pallas/kernels.h"

namespace sophia::pallas {
namespace {

void Write(const std::filesystem::path& folder) {
  for (const TestKernel& test : AllTestKernels()) {
    const Kernel kernel = TraceKernel(test.spec, test.body, test.inputs);
    WriteFile(folder / (test.name + ".mlir"), KernelFile(kernel));
  }
}

void Compile(const std::string& name) {
  const std::optional<Chip> chip = ChipFromName(name);
  if (!chip) Fail("pallas_dump", "expected a chip, got {}", name);
  const pjrt::Topology topology = pjrt::Topology::Create(
      pjrt::Plugin::Load(SOPHIA_DEPS_DIR "/plugins/libtpu.so"), Info(*chip).topology);
  for (const TestKernel& test : AllTestKernels()) {
    if (test.from > *chip) continue;
    std::printf("%s ", test.name.c_str());
    std::fflush(stdout);
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
    const pjrt::Executable executable = CompileAheadOfTime(topology, graph);
    std::printf("ok %lld\n", static_cast<long long>(executable.MemoryStats().generated_code));
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace sophia::pallas

int main(int argc, char** argv) {
  const std::span<char*> arguments(argv, static_cast<size_t>(argc));
  const std::string command = arguments.size() == 3 ? arguments[1] : "";
  if (command != "write" && command != "compile") {
    std::fprintf(stderr, "usage: pallas_dump write FOLDER | compile CHIP\n");
    return 2;
  }
  try {
    if (command == "write") {
      sophia::pallas::Write(arguments[2]);
    } else {
      sophia::pallas::Compile(arguments[2]);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
