#include "sophia/pjrt/client.h"

#include "sophia/pjrt/call.h"

namespace sophia::pjrt {
namespace {

std::optional<int64_t> IfSet(int64_t value, bool is_set) {
  return is_set ? std::optional(value) : std::nullopt;
}

PJRT_DeviceDescription* RawDescription(const Device& device) {
  return Call<&PJRT_Api::PJRT_Device_GetDescription>(device.client().plugin(),
                                                     {.device = device.raw()})
      .device_description;
}

}  // namespace

int Memory::id() const {
  return Call<&PJRT_Api::PJRT_Memory_Id>(client_->plugin(), {.memory = memory_}).id;
}

std::string Memory::kind() const {
  const auto args = Call<&PJRT_Api::PJRT_Memory_Kind>(client_->plugin(), {.memory = memory_});
  return {args.kind, args.kind_size};
}

std::string Memory::ToString() const {
  const auto args = Call<&PJRT_Api::PJRT_Memory_ToString>(client_->plugin(), {.memory = memory_});
  return {args.to_string, args.to_string_size};
}

DeviceDescription Describe(const Plugin& plugin, PJRT_DeviceDescription* description) {
  const auto kind =
      Call<&PJRT_Api::PJRT_DeviceDescription_Kind>(plugin, {.device_description = description});
  const auto text =
      Call<&PJRT_Api::PJRT_DeviceDescription_ToString>(plugin, {.device_description = description});
  const auto attributes = Call<&PJRT_Api::PJRT_DeviceDescription_Attributes>(
      plugin, {.device_description = description});
  return {
      .id = Call<&PJRT_Api::PJRT_DeviceDescription_Id>(plugin, {.device_description = description})
                .id,
      .process_index = Call<&PJRT_Api::PJRT_DeviceDescription_ProcessIndex>(
                           plugin, {.device_description = description})
                           .process_index,
      .kind = {kind.device_kind, kind.device_kind_size},
      .text = {text.to_string, text.to_string_size},
      .attributes = FromPjrt(attributes.attributes, attributes.num_attributes),
  };
}

int Device::id() const {
  return Call<&PJRT_Api::PJRT_DeviceDescription_Id>(client_->plugin(),
                                                    {.device_description = RawDescription(*this)})
      .id;
}

DeviceDescription Device::Description() const {
  return Describe(client_->plugin(), RawDescription(*this));
}

bool Device::is_addressable() const {
  return Call<&PJRT_Api::PJRT_Device_IsAddressable>(client_->plugin(), {.device = device_})
      .is_addressable;
}

int Device::local_hardware_id() const {
  return Call<&PJRT_Api::PJRT_Device_LocalHardwareId>(client_->plugin(), {.device = device_})
      .local_hardware_id;
}

std::vector<Memory> Device::memories() const {
  const auto args =
      Call<&PJRT_Api::PJRT_Device_AddressableMemories>(client_->plugin(), {.device = device_});
  std::vector<Memory> result;
  for (size_t i = 0; i < args.num_memories; ++i) result.emplace_back(client_, args.memories[i]);
  return result;
}

Memory Device::default_memory() const {
  return {
      client_,
      Call<&PJRT_Api::PJRT_Device_DefaultMemory>(client_->plugin(), {.device = device_}).memory};
}

std::optional<Memory> Device::FindMemory(std::string_view kind) const {
  for (const Memory& memory : memories()) {
    if (memory.kind() == kind) return memory;
  }
  return std::nullopt;
}

std::optional<DeviceMemoryStats> Device::MemoryStats() const {
  const auto args =
      TryCall<&PJRT_Api::PJRT_Device_MemoryStats>(client_->plugin(), {.device = device_});
  if (!args) return std::nullopt;
  return DeviceMemoryStats{
      .bytes_in_use = args->bytes_in_use,
      .peak_bytes_in_use = IfSet(args->peak_bytes_in_use, args->peak_bytes_in_use_is_set),
      .largest_allocation = IfSet(args->largest_alloc_size, args->largest_alloc_size_is_set),
      .bytes_limit = IfSet(args->bytes_limit, args->bytes_limit_is_set),
      .bytes_reserved = IfSet(args->bytes_reserved, args->bytes_reserved_is_set),
      .largest_free_block =
          IfSet(args->largest_free_block_bytes, args->largest_free_block_bytes_is_set),
  };
}

std::shared_ptr<const Client> Client::Create(std::shared_ptr<const Plugin> plugin,
                                             const NamedValues& options) {
  const std::vector<PJRT_NamedValue> values = ToPjrt(options);
  PJRT_Client* client =
      Call<&PJRT_Api::PJRT_Client_Create>(
          *plugin, {.create_options = values.data(), .num_options = values.size()})
          .client;
  return std::shared_ptr<const Client>(new Client(std::move(plugin), client));
}

Client::~Client() { Destroy<&PJRT_Api::PJRT_Client_Destroy>(*plugin_, {.client = client_}); }

std::string Client::platform_name() const {
  const auto args = Call<&PJRT_Api::PJRT_Client_PlatformName>(*plugin_, {.client = client_});
  return {args.platform_name, args.platform_name_size};
}

std::string Client::platform_version() const {
  const auto args = Call<&PJRT_Api::PJRT_Client_PlatformVersion>(*plugin_, {.client = client_});
  return {args.platform_version, args.platform_version_size};
}

int Client::process_index() const {
  return Call<&PJRT_Api::PJRT_Client_ProcessIndex>(*plugin_, {.client = client_}).process_index;
}

std::vector<Device> Client::devices() const {
  const auto args = Call<&PJRT_Api::PJRT_Client_Devices>(*plugin_, {.client = client_});
  std::vector<Device> result;
  for (size_t i = 0; i < args.num_devices; ++i) result.emplace_back(this, args.devices[i]);
  return result;
}

std::vector<Device> Client::addressable_devices() const {
  const auto args = Call<&PJRT_Api::PJRT_Client_AddressableDevices>(*plugin_, {.client = client_});
  std::vector<Device> result;
  for (size_t i = 0; i < args.num_addressable_devices; ++i) {
    result.emplace_back(this, args.addressable_devices[i]);
  }
  return result;
}

Device Client::default_device() const {
  const std::vector<Device> devices = addressable_devices();
  if (devices.empty()) Fail(platform_name(), "expected a device in reach, got none");
  return devices.front();
}

std::vector<Memory> Client::memories() const {
  const auto args = Call<&PJRT_Api::PJRT_Client_AddressableMemories>(*plugin_, {.client = client_});
  std::vector<Memory> result;
  for (size_t i = 0; i < args.num_addressable_memories; ++i) {
    result.emplace_back(this, args.addressable_memories[i]);
  }
  return result;
}

std::vector<std::vector<int64_t>> Client::DefaultDeviceAssignment(int replicas,
                                                                  int partitions) const {
  std::vector<int> flat(static_cast<size_t>(replicas) * static_cast<size_t>(partitions));
  Call<&PJRT_Api::PJRT_Client_DefaultDeviceAssignment>(*plugin_,
                                                       {.client = client_,
                                                        .num_replicas = replicas,
                                                        .num_partitions = partitions,
                                                        .default_assignment_size = flat.size(),
                                                        .default_assignment = flat.data()});
  std::vector<std::vector<int64_t>> result(replicas);
  for (size_t i = 0; i < flat.size(); ++i) result[i / partitions].push_back(flat[i]);
  return result;
}

}  // namespace sophia::pjrt
