#include "sophia/pjrt/ffi.h"

#include "xla/pjrt/c/pjrt_c_api_ffi_extension.h"

#include "sophia/pjrt/call.h"

namespace sophia::pjrt {
namespace {

constexpr std::string_view kRegister = "PJRT_FFI_Register_Handler";

// Null where the plugin lacks the extension or has it without handler registration.
const PJRT_FFI_Extension* FindFfi(const Plugin& plugin) {
  const PJRT_Extension_Base* base = plugin.FindExtension(PJRT_Extension_Type_FFI);
  if (base == nullptr || base->struct_size < PJRT_FFI_Extension_STRUCT_SIZE) return nullptr;
  const auto* ffi = reinterpret_cast<const PJRT_FFI_Extension*>(base);
  return ffi->register_handler == nullptr ? nullptr : ffi;
}

}  // namespace

bool HasFfi(const Plugin& plugin) { return FindFfi(plugin) != nullptr; }

void RegisterFfiHandler(const Plugin& plugin, std::string_view target_name,
                        std::string_view platform, FfiHandler* handler) {
  const PJRT_FFI_Extension* ffi = FindFfi(plugin);
  if (ffi == nullptr) ThrowMissingMethod(plugin.api(), kRegister);
  PJRT_FFI_Register_Handler_Args args{.struct_size = PJRT_FFI_Register_Handler_Args_STRUCT_SIZE,
                                      .target_name = target_name.data(),
                                      .target_name_size = target_name.size(),
                                      .handler = reinterpret_cast<void*>(handler),
                                      .platform_name = platform.data(),
                                      .platform_name_size = platform.size()};
  ThrowIfError(plugin.api(), ffi->register_handler(&args), kRegister);
}

}  // namespace sophia::pjrt
