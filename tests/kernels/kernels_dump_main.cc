// kernels_dump write FOLDER: for every case, run interpreted on the CPU plugin,
// FOLDER/CASE.safetensors
//   with in/I, out/I and grad/I (I counts inputs and outputs), and for every kernel that it calls
//   FOLDER/CASE.N.KERNEL.mlir, the Mosaic text, with in/I and out/I in a .safetensors beside it,
//   all as f32 or s32. FOLDER/cases.json lists them.
// kernels_dump compile CHIP: compiles the cases that the chip takes by libtpu, one line each.
// kernels_dump shapes CHIP MODEL: the same for all kernels at a model's shapes; without MODEL,
//   names the models.
#include <cstdio>
#include <filesystem>
#include <span>

#include "sophia/base/file.h"
#include "sophia/base/json.h"
#include "sophia/io/safetensors.h"
#include "sophia/pallas/mosaic.h"
#include "tests/kernels/model_cases.h"
#include "tests/kernels/run_case.h"

namespace sophia::kernels {
namespace {

using pallas::Chip;
using pallas::HostTensor;
using pallas::Mode;
using std::filesystem::path;

// A safetensors file and which outputs of the program it holds, by name.
struct Dump {
  std::string stem;
  std::vector<std::pair<std::string, size_t>> tensors;
};

// Makes tensors outputs of the graph and remembers where they go.
class Dumper {
 public:
  Dumper(Graph& graph, path folder) : graph_(graph), folder_(std::move(folder)) {}

  void Add(Dump& dump, const std::string& name, const Tensor& value) {
    SOPHIA_CHECK(value.node()->parent == &graph_.main(), "{}: a kernel inside a loop", dump.stem);
    dump.tensors.emplace_back(name, graph_.outputs().size());
    pallas::AddHostOutput(graph_, value, name);
  }

  void Write(const Dump& dump, const std::vector<HostTensor>& results) const {
    std::vector<io::TensorView> views;
    for (const auto& [name, index] : dump.tensors) {
      views.push_back({name, results[index].shape, results[index].bytes()});
    }
    io::WriteSafetensors(folder_ / (dump.stem + ".safetensors"), views);
  }

 private:
  Graph& graph_;
  path folder_;
};

std::string Numbered(std::string_view kind, size_t index) {
  return fmt::format("{}/{}", kind, index);
}

Json WriteCase(const KernelCase& test, const pjrt::Client& client, const path& folder) {
  Graph graph;
  Dumper dumper(graph, folder);
  Json kernels = Json::array();
  std::vector<Dump> dumps = {{.stem = test.name}};
  {
    const Tracing tracing(graph);
    const std::vector<Tensor> inputs = AddInputs(graph, test);
    const pallas::CallObserver observer(
        [&](const pallas::Kernel& kernel, std::span<const Tensor> in, std::span<const Tensor> out) {
          Dump dump{.stem = fmt::format("{}.{}.{}", test.name, kernels.size(), kernel.spec.name)};
          WriteFile(folder / (dump.stem + ".mlir"), pallas::KernelFile(kernel));
          for (size_t i = 0; i < in.size(); ++i) dumper.Add(dump, Numbered("in", i), in[i]);
          for (size_t i = 0; i < out.size(); ++i) dumper.Add(dump, Numbered("out", i), out[i]);
          kernels.push_back({{"name", kernel.spec.name}, {"file", dump.stem}});
          dumps.push_back(std::move(dump));
        });
    const CaseResults results = TraceCase(test, inputs, {.mode = Mode::kInterpret});
    Dump& dump = dumps[0];
    for (size_t i = 0; i < inputs.size(); ++i) dumper.Add(dump, Numbered("in", i), inputs[i]);
    for (size_t i = 0; i < results.outputs.size(); ++i) {
      dumper.Add(dump, Numbered("out", i), results.outputs[i]);
    }
    size_t grad = 0;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (test.inputs[i].differentiate) {
        dumper.Add(dump, Numbered("grad", i), results.grads[grad++]);
      }
    }
  }
  const std::vector<HostTensor> results = pallas::RunOnce(client, graph, DrawInputs(test));
  for (const Dump& dump : dumps) dumper.Write(dump, results);
  Json types = Json::array();
  for (const CaseInput& input : test.inputs) types.push_back(Name(input.shape.dtype));
  return {{"name", test.name},
          {"tolerance", test.tolerance},
          {"inputs", std::move(types)},
          {"kernels", std::move(kernels)}};
}

void Write(const path& folder) {
  const auto client =
      pjrt::Client::Create(pjrt::Plugin::Load(SOPHIA_DEPS_DIR "/plugins/pjrt_cpu.so"));
  Json cases = Json::array();
  for (const KernelCase& test : AllCases()) cases.push_back(WriteCase(test, *client, folder));
  WriteFile(folder / "cases.json",
            sophia::Dump({{"compiler", SOPHIA_COMPILER}, {"cases", std::move(cases)}}));
}

void Compile(const std::string& name, const std::vector<KernelCase>& cases) {
  const std::optional<Chip> chip = pallas::ChipFromName(name);
  if (!chip) Fail("kernels_dump", "expected a chip, got {}", name);
  const pjrt::Topology topology = pjrt::Topology::Create(
      pjrt::Plugin::Load(SOPHIA_DEPS_DIR "/plugins/libtpu.so"), Info(*chip).topology);
  for (const KernelCase& test : cases) {
    if (test.from > *chip) continue;
    std::printf("%s ", test.name.c_str());
    std::fflush(stdout);
    try {
      Graph graph;
      {
        const Tracing tracing(graph);
        const CaseResults results =
            TraceCase(test, AddInputs(graph, test), {.mode = Mode::kMosaic, .chip = chip});
        for (const Tensor& output : results.outputs) graph.AddOutput(output, {.name = "out"});
        for (const Tensor& grad : results.grads) graph.AddOutput(grad, {.name = "grad"});
      }
      CompileAheadOfTime(topology, graph);
      std::printf("ok\n");
    } catch (const std::exception& error) {
      std::printf("%s\n", error.what());
    }
  }
}

}  // namespace
}  // namespace sophia::kernels

int main(int argc, char** argv) {
  const std::span<char*> arguments(argv, static_cast<size_t>(argc));
  const std::string command = arguments.size() >= 2 ? arguments[1] : "";
  try {
    if (command == "write" && argc == 3) {
      sophia::kernels::Write(arguments[2]);
    } else if (command == "compile" && argc == 3) {
      sophia::kernels::Compile(arguments[2], sophia::kernels::AllCases());
    } else if (command == "shapes" && argc == 2) {
      for (const std::string_view name : sophia::kernels::ModelNames()) {
        std::printf("%s\n", std::string(name).c_str());
      }
    } else if (command == "shapes" && argc == 4) {
      sophia::kernels::Compile(arguments[2], sophia::kernels::ModelCases(arguments[3]));
    } else {
      std::fprintf(stderr,
                   "usage: kernels_dump write FOLDER | compile CHIP | shapes [CHIP MODEL]\n");
      return 2;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
