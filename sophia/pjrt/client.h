#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/pjrt/plugin.h"

struct PJRT_Client;
struct PJRT_Device;
struct PJRT_DeviceDescription;
struct PJRT_Memory;

namespace sophia::pjrt {

class Client;

// A memory space that devices reach ("device", "pinned_host", …). A view, valid while its client
// lives.
class Memory {
 public:
  Memory(const Client* client, PJRT_Memory* memory) : client_(client), memory_(memory) {}

  int id() const;
  std::string kind() const;
  std::string ToString() const;

  const Client& client() const { return *client_; }
  PJRT_Memory* raw() const { return memory_; }
  bool operator==(const Memory&) const = default;

 private:
  const Client* client_;
  PJRT_Memory* memory_;
};

// Bytes as the device's allocator counts them; what it does not count is absent.
struct DeviceMemoryStats {
  int64_t bytes_in_use = 0;
  std::optional<int64_t> peak_bytes_in_use;
  std::optional<int64_t> largest_allocation;
  std::optional<int64_t> bytes_limit;
  std::optional<int64_t> bytes_reserved;
  std::optional<int64_t> largest_free_block;
};

// What is known of a device without having it.
struct DeviceDescription {
  int id = 0;
  int process_index = 0;
  std::string kind;  // "cpu", "TPU v5 lite"
  std::string text;  // "CpuDevice(id=0)"
  NamedValues attributes;
};
DeviceDescription Describe(const Plugin& plugin, PJRT_DeviceDescription* description);

// A view, valid while its client lives.
class Device {
 public:
  Device(const Client* client, PJRT_Device* device) : client_(client), device_(device) {}

  int id() const;
  DeviceDescription Description() const;
  bool is_addressable() const;
  int local_hardware_id() const;

  std::vector<Memory> memories() const;
  Memory default_memory() const;
  std::optional<Memory> FindMemory(std::string_view kind) const;

  // nullopt where the plugin keeps no statistics (the CPU).
  std::optional<DeviceMemoryStats> MemoryStats() const;

  const Client& client() const { return *client_; }
  PJRT_Device* raw() const { return device_; }
  bool operator==(const Device&) const = default;

 private:
  const Client* client_;
  PJRT_Device* device_;
};

// A plugin's devices, opened. Buffers and executables share its ownership.
class Client : public std::enable_shared_from_this<Client> {
 public:
  // Options are the plugin's own: the CPU takes cpu_device_count. Throws CallError.
  static std::shared_ptr<const Client> Create(std::shared_ptr<const Plugin> plugin,
                                              const NamedValues& options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  const Plugin& plugin() const { return *plugin_; }
  std::shared_ptr<const Plugin> shared_plugin() const { return plugin_; }
  std::string platform_name() const;  // "cpu", "tpu", "cuda"
  std::string platform_version() const;
  int process_index() const;

  std::vector<Device> devices() const;
  std::vector<Device> addressable_devices() const;
  // The first addressable device. Throws Error if there is none.
  Device default_device() const;
  std::vector<Memory> memories() const;

  // Device ids as [replica][partition], the order the platform prefers.
  std::vector<std::vector<int64_t>> DefaultDeviceAssignment(int replicas, int partitions) const;

  PJRT_Client* raw() const { return client_; }

 private:
  Client(std::shared_ptr<const Plugin> plugin, PJRT_Client* client)
      : plugin_(std::move(plugin)), client_(client) {}

  std::shared_ptr<const Plugin> plugin_;
  PJRT_Client* client_;
};

}  // namespace sophia::pjrt
