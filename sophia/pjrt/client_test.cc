#include "sophia/pjrt/client.h"

#include <gmock/gmock.h>

#include "sophia/pjrt/test_support.h"

namespace sophia::pjrt {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Client, OpensTheCpu) {
  const auto client = CpuClient();
  EXPECT_EQ(client->platform_name(), "cpu");
  EXPECT_FALSE(client->platform_version().empty());
  EXPECT_EQ(client->process_index(), 0);
  ASSERT_EQ(client->devices().size(), 1u);
  EXPECT_EQ(client->devices()[0], client->default_device());
}

TEST(Client, TakesTheNumberOfDevices) {
  const auto client = CpuClient(3);
  const std::vector<Device> devices = client->addressable_devices();
  ASSERT_EQ(devices.size(), 3u);
  EXPECT_NE(devices[0].id(), devices[1].id());
  EXPECT_TRUE(devices[2].is_addressable());
  EXPECT_THAT(client->DefaultDeviceAssignment(1, 2),
              ElementsAre(ElementsAre(devices[0].id(), devices[1].id())));
}

TEST(Client, RefusesABadOption) {
  EXPECT_THAT(
      MessageOf([] {
        Client::Create(Plugin::Load(CpuPlugin()), {{"cpu_device_count", std::string("two")}});
      }),
      StartsWith("[PJRT_Client_Create] INVALID_ARGUMENT: "));
}

TEST(Device, DescribesItselfAndItsMemories) {
  const auto client = CpuClient();
  const Device device = client->default_device();
  const DeviceDescription description = device.Description();
  EXPECT_EQ(description.id, device.id());
  EXPECT_EQ(description.kind, "cpu");
  EXPECT_THAT(description.text, HasSubstr(std::to_string(device.id())));
  std::vector<std::string> kinds;
  for (const Memory& memory : device.memories()) kinds.push_back(memory.kind());
  EXPECT_THAT(kinds, Contains("pinned_host"));
  EXPECT_EQ(device.FindMemory(device.default_memory().kind()), device.default_memory());
  EXPECT_EQ(device.FindMemory("flux"), std::nullopt);
  EXPECT_GE(client->memories().size(), device.memories().size());
}

TEST(Device, HasNoMemoryStatisticsOnTheCpu) {
  const auto client = CpuClient();
  EXPECT_FALSE(client->default_device().MemoryStats().has_value());
}

TEST(Client, SharesThePluginsOwnership) {
  auto plugin = Plugin::Load(CpuPlugin());
  const std::weak_ptr<const Plugin> watch = plugin;
  auto client = Client::Create(std::move(plugin));
  EXPECT_FALSE(watch.expired());
  client.reset();
  EXPECT_TRUE(watch.expired());
}

}  // namespace
}  // namespace sophia::pjrt
