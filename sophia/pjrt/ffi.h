#pragma once

#include <string_view>

#include "sophia/pjrt/plugin.h"

struct XLA_FFI_Error;
struct XLA_FFI_CallFrame;

namespace sophia::pjrt {

// XLA_FFI_Handler of xla/ffi/api/c_api.h, as XLA_FFI_DEFINE_HANDLER of xla/ffi/api/ffi.h makes it.
using FfiHandler = XLA_FFI_Error*(XLA_FFI_CallFrame*);

// True if the plugin lets programs call handlers of this process.
bool HasFfi(const Plugin& plugin);

// Makes `handler` the target of stablehlo.custom_call @target_name with api_version = 4 for every
// program that the plugin compiles after it for `platform` ("Host" is the CPU, "CUDA" NVIDIA GPUs).
// The registration lasts as long as the process; the first handler of a name stays and a second one
// is ignored. Throws CallError if the plugin cannot register handlers.
void RegisterFfiHandler(const Plugin& plugin, std::string_view target_name,
                        std::string_view platform, FfiHandler* handler);

}  // namespace sophia::pjrt
