#include <utility>

#include "sophia/pjrt/call.h"
#include "sophia/pjrt/executable.h"

namespace sophia::pjrt {
namespace {

PJRT_Executable* ExecutableOf(const Client& client, PJRT_LoadedExecutable* loaded) {
  return Call<&PJRT_Api::PJRT_LoadedExecutable_GetExecutable>(client.plugin(),
                                                              {.loaded_executable = loaded})
      .executable;
}

std::vector<PJRT_Buffer*> Raw(std::span<Buffer* const> buffers) {
  std::vector<PJRT_Buffer*> result;
  result.reserve(buffers.size());
  for (const Buffer* buffer : buffers) {
    SOPHIA_CHECK(buffer != nullptr && buffer->raw() != nullptr, "argument {} has no buffer",
                 result.size());
    result.push_back(buffer->raw());
  }
  return result;
}

}  // namespace

LoadedExecutable LoadedExecutable::Compile(const Client& client, std::string_view mlir,
                                           const CompileOptions& options) {
  const std::string encoded = Encode(options);
  const PJRT_Program program = MlirProgram(mlir);
  const auto args = Call<&PJRT_Api::PJRT_Client_Compile>(client.plugin(),
                                                         {.client = client.raw(),
                                                          .program = &program,
                                                          .compile_options = encoded.data(),
                                                          .compile_options_size = encoded.size()});
  return {client.shared_from_this(), args.executable};
}

LoadedExecutable LoadedExecutable::Deserialize(const Client& client, std::string_view serialized) {
  const auto args = Call<&PJRT_Api::PJRT_Executable_DeserializeAndLoad>(
      client.plugin(), {.client = client.raw(),
                        .serialized_executable = serialized.data(),
                        .serialized_executable_size = serialized.size()});
  return {client.shared_from_this(), args.loaded_executable};
}

LoadedExecutable::LoadedExecutable(std::shared_ptr<const Client> client,
                                   PJRT_LoadedExecutable* executable)
    : client_(std::move(client)),
      loaded_(executable),
      executable_(client_->shared_plugin(), ExecutableOf(*client_, executable)),
      num_outputs_(executable_.num_outputs()) {}

LoadedExecutable::~LoadedExecutable() {
  if (loaded_ != nullptr) {
    Destroy<&PJRT_Api::PJRT_LoadedExecutable_Destroy>(client_->plugin(), {.executable = loaded_});
  }
}

LoadedExecutable::LoadedExecutable(LoadedExecutable&& other) noexcept
    : client_(std::move(other.client_)),
      loaded_(std::exchange(other.loaded_, nullptr)),
      executable_(std::move(other.executable_)),
      num_outputs_(other.num_outputs_) {}

LoadedExecutable& LoadedExecutable::operator=(LoadedExecutable&& other) noexcept {
  LoadedExecutable taken(std::move(other));
  std::swap(client_, taken.client_);
  std::swap(loaded_, taken.loaded_);
  std::swap(executable_, taken.executable_);
  std::swap(num_outputs_, taken.num_outputs_);
  return *this;
}

std::vector<Device> LoadedExecutable::devices() const {
  const auto args = Call<&PJRT_Api::PJRT_LoadedExecutable_AddressableDevices>(
      client_->plugin(), {.executable = loaded_});
  std::vector<Device> result;
  for (size_t i = 0; i < args.num_addressable_devices; ++i) {
    result.emplace_back(client_.get(), args.addressable_devices[i]);
  }
  return result;
}

std::vector<Buffer> LoadedExecutable::Execute(std::span<Buffer* const> arguments,
                                              const ExecuteOptions& options) const {
  const std::vector<Buffer*> list(arguments.begin(), arguments.end());
  return std::move(ExecuteSharded({&list, 1}, options).front());
}

std::vector<std::vector<Buffer>> LoadedExecutable::ExecuteSharded(
    std::span<const std::vector<Buffer*>> arguments, const ExecuteOptions& options) const {
  const size_t num_devices = arguments.size();
  SOPHIA_CHECK(num_devices > 0, "no device's arguments");
  std::vector<std::vector<PJRT_Buffer*>> inputs;
  std::vector<std::vector<PJRT_Buffer*>> outputs(num_devices,
                                                 std::vector<PJRT_Buffer*>(num_outputs_));
  std::vector<PJRT_Buffer* const*> input_lists;
  std::vector<PJRT_Buffer**> output_lists;
  for (size_t i = 0; i < num_devices; ++i) {
    SOPHIA_CHECK(arguments[i].size() == arguments[0].size(),
                 "device {} has {} arguments, the first device {}", i, arguments[i].size(),
                 arguments[0].size());
    inputs.push_back(Raw(arguments[i]));
    output_lists.push_back(outputs[i].data());
  }
  for (const auto& list : inputs) input_lists.push_back(list.data());

  PJRT_ExecuteOptions execute_options{
      .struct_size = PJRT_ExecuteOptions_STRUCT_SIZE,
      .non_donatable_input_indices = options.non_donatable.data(),
      .num_non_donatable_input_indices = options.non_donatable.size()};
  Call<&PJRT_Api::PJRT_LoadedExecutable_Execute>(client_->plugin(),
                                                 {.executable = loaded_,
                                                  .options = &execute_options,
                                                  .argument_lists = input_lists.data(),
                                                  .num_devices = num_devices,
                                                  .num_args = arguments[0].size(),
                                                  .output_lists = output_lists.data()});
  std::vector<std::vector<Buffer>> results(num_devices);
  for (size_t i = 0; i < num_devices; ++i) {
    for (PJRT_Buffer* buffer : outputs[i]) results[i].emplace_back(client_, buffer);
  }
  return results;
}

}  // namespace sophia::pjrt
