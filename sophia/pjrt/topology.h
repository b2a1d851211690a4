#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/pjrt/client.h"
#include "sophia/pjrt/compile_options.h"
#include "sophia/pjrt/executable.h"

struct PJRT_TopologyDescription;

namespace sophia::pjrt {

// Devices and how they are connected, described without having them. Move-only.
class Topology {
 public:
  // A topology of the plugin's naming: libtpu knows "v5e:1x1", "v5p:2x2x1", …. Throws CallError.
  static Topology Create(std::shared_ptr<const Plugin> plugin, std::string_view name,
                         const NamedValues& options = {});
  ~Topology();
  Topology(Topology&& other) noexcept;
  Topology& operator=(Topology&& other) noexcept;

  std::string platform_name() const;
  std::string platform_version() const;
  std::vector<DeviceDescription> devices() const;
  // What the plugin says of it; empty where it says nothing.
  NamedValues Attributes() const;

  std::shared_ptr<const Plugin> plugin() const { return plugin_; }
  PJRT_TopologyDescription* raw() const { return topology_; }

 private:
  Topology(std::shared_ptr<const Plugin> plugin, PJRT_TopologyDescription* topology)
      : plugin_(std::move(plugin)), topology_(topology) {}

  std::shared_ptr<const Plugin> plugin_;
  PJRT_TopologyDescription* topology_ = nullptr;
};

// Compiles StableHLO text or bytecode for devices that need not be here. Throws CallError: if the
// program does not fit the device's memory, with code kResourceExhausted.
Executable CompileAheadOfTime(const Topology& topology, std::string_view mlir,
                              const CompileOptions& options = {});

}  // namespace sophia::pjrt
