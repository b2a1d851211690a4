#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "xla/pjrt/c/pjrt_c_api.h"

#include "sophia/base/error_for_test.h"
#include "sophia/pjrt/client.h"

namespace sophia::pjrt {

inline std::filesystem::path CpuPlugin() { return SOPHIA_DEPS_DIR "/plugins/pjrt_cpu.so"; }

// A client of the CPU plugin with `devices` devices.
inline std::shared_ptr<const Client> CpuClient(int64_t devices = 1) {
  return Client::Create(Plugin::Load(CpuPlugin()), {{"cpu_device_count", devices}});
}

// The CPU plugin's client with the plugin's own options, one for the whole test program.
inline const Client& SharedCpuClient() {
  static const std::shared_ptr<const Client> client = Client::Create(Plugin::Load(CpuPlugin()));
  return *client;
}

inline std::filesystem::path TpuPlugin() { return SOPHIA_DEPS_DIR "/plugins/libtpu.so"; }

// The CPU plugin's function table as a plugin of another version would show it.
inline PJRT_Api CopyOfApi() {
  const PJRT_Api& api = Plugin::Load(CpuPlugin())->api();
  PJRT_Api copy{};
  std::memcpy(&copy, &api, std::min(sizeof(copy), api.struct_size));
  copy.struct_size = std::min(sizeof(copy), api.struct_size);
  return copy;
}

}  // namespace sophia::pjrt
