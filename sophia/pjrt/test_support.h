#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "xla/pjrt/c/pjrt_c_api.h"

#include "sophia/pjrt/client.h"

namespace sophia::pjrt {

inline std::filesystem::path CpuPlugin() { return SOPHIA_DEPS_DIR "/plugins/pjrt_cpu.so"; }

// A client of the CPU plugin with `devices` devices.
inline std::shared_ptr<const Client> CpuClient(int64_t devices = 1) {
  return Client::Create(Plugin::Load(CpuPlugin()), {{"cpu_device_count", devices}});
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

// what() of the Error that `action` throws.
template <typename Action>
std::string MessageOf(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace sophia::pjrt
