#include "sophia/pjrt/topology.h"

#include <utility>

#include "sophia/pjrt/call.h"

namespace sophia::pjrt {

Topology Topology::Create(std::shared_ptr<const Plugin> plugin, std::string_view name,
                          const NamedValues& options) {
  const std::vector<PJRT_NamedValue> values = ToPjrt(options);
  PJRT_TopologyDescription* topology =
      Call<&PJRT_Api::PJRT_TopologyDescription_Create>(*plugin, {.topology_name = name.data(),
                                                                 .topology_name_size = name.size(),
                                                                 .create_options = values.data(),
                                                                 .num_options = values.size()})
          .topology;
  return {std::move(plugin), topology};
}

Topology::~Topology() {
  if (topology_ != nullptr) {
    Destroy<&PJRT_Api::PJRT_TopologyDescription_Destroy>(*plugin_, {.topology = topology_});
  }
}

Topology::Topology(Topology&& other) noexcept
    : plugin_(std::move(other.plugin_)), topology_(std::exchange(other.topology_, nullptr)) {}

Topology& Topology::operator=(Topology&& other) noexcept {
  Topology taken(std::move(other));
  std::swap(plugin_, taken.plugin_);
  std::swap(topology_, taken.topology_);
  return *this;
}

std::string Topology::platform_name() const {
  const auto args =
      Call<&PJRT_Api::PJRT_TopologyDescription_PlatformName>(*plugin_, {.topology = topology_});
  return {args.platform_name, args.platform_name_size};
}

std::string Topology::platform_version() const {
  const auto args =
      Call<&PJRT_Api::PJRT_TopologyDescription_PlatformVersion>(*plugin_, {.topology = topology_});
  return {args.platform_version, args.platform_version_size};
}

std::vector<DeviceDescription> Topology::devices() const {
  const auto args = Call<&PJRT_Api::PJRT_TopologyDescription_GetDeviceDescriptions>(
      *plugin_, {.topology = topology_});
  std::vector<DeviceDescription> result;
  for (size_t i = 0; i < args.num_descriptions; ++i) {
    result.push_back(Describe(*plugin_, args.descriptions[i]));
  }
  return result;
}

NamedValues Topology::Attributes() const {
  const auto args =
      TryCall<&PJRT_Api::PJRT_TopologyDescription_Attributes>(*plugin_, {.topology = topology_});
  return args ? FromPjrt(args->attributes, args->num_attributes) : NamedValues{};
}

Executable CompileAheadOfTime(const Topology& topology, std::string_view mlir,
                              const CompileOptions& options) {
  const std::string encoded = Encode(options);
  const PJRT_Program program = MlirProgram(mlir);
  const auto args =
      Call<&PJRT_Api::PJRT_Compile>(*topology.plugin(), {.topology = topology.raw(),
                                                         .program = &program,
                                                         .compile_options = encoded.data(),
                                                         .compile_options_size = encoded.size()});
  return {topology.plugin(), args.executable};
}

}  // namespace sophia::pjrt
