// opcheck_dump PLUGIN FILE: runs every sample in f32, forward and backward, and writes a
// safetensors file with <sample>/in/0, <sample>/out/0, <sample>/cotangent/0 (of float outputs) and
// <sample>/grad/0 (of float inputs), for comparison with another implementation.
#include <cstdio>
#include <span>

#include "sophia/io/safetensors.h"
#include "tests/opcheck/opcheck.h"

namespace sophia {
namespace {

struct Named {
  std::string name;
  HostValue value;
};

void Dump(const std::string& plugin, const std::string& path) {
  const std::shared_ptr<const pjrt::Client> client =
      pjrt::Client::Create(pjrt::Plugin::Load(plugin));
  std::vector<Named> values;
  for (const OpSample& sample : AllSamples()) {
    const OpRun run = RunSample(*client, sample, 1, false, sample.differentiable);
    const auto add = [&](std::string_view role, const std::vector<HostValue>& list) {
      for (size_t i = 0; i < list.size(); ++i) {
        values.push_back({fmt::format("{}/{}/{}", sample.name, role, i), list[i]});
      }
    };
    add("in", run.inputs);
    add("out", run.outputs);
    add("cotangent", run.cotangents);
    add("grad", run.gradients);
  }
  std::vector<std::vector<std::byte>> bytes;
  for (const Named& named : values) bytes.push_back(ToBytes(named.value));
  std::vector<io::TensorView> tensors;
  for (size_t i = 0; i < values.size(); ++i) {
    tensors.push_back({values[i].name, values[i].value.shape, bytes[i]});
  }
  io::WriteSafetensors(path, tensors);
}

}  // namespace
}  // namespace sophia

int main(int argc, char** argv) {
  const std::span<char*> arguments(argv, static_cast<size_t>(argc));
  if (arguments.size() != 3) {
    std::fprintf(stderr, "usage: opcheck_dump PLUGIN FILE\n");
    return 2;
  }
  try {
    sophia::Dump(arguments[1], arguments[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
