#pragma once

#include <string_view>

#include "xla/pjrt/c/pjrt_c_api.h"

#include "sophia/base/error.h"
#include "sophia/pjrt/plugin.h"

namespace sophia::pjrt {

// Arguments and name of a method of the function table, from a pointer to its member:
// MethodArgs<&PJRT_Api::PJRT_Client_Create> is PJRT_Client_Create_Args.
template <typename Member>
struct MethodTraits;
template <typename Result, typename Args_>
struct MethodTraits<Result (*PJRT_Api::*)(Args_*)> {
  using Args = Args_;
};
template <auto Method>
using MethodArgs = typename MethodTraits<decltype(Method)>::Args;

template <auto Method>
constexpr std::string_view MethodName() {
  std::string_view name = __PRETTY_FUNCTION__;
  name.remove_prefix(name.find("PJRT_Api::") + std::string_view("PJRT_Api::").size());
  return name.substr(0, name.find_first_of("];, "));
}

// True if the plugin is new enough to have the method and implements it.
template <auto Method>
bool Has(const PJRT_Api& api) {
  const auto* table = reinterpret_cast<const char*>(&api);
  const auto* entry = reinterpret_cast<const char*>(&(api.*Method));
  return static_cast<size_t>(entry - table) + sizeof(void*) <= api.struct_size &&
         api.*Method != nullptr;
}
template <auto Method>
bool Has(const Plugin& plugin) {
  return Has<Method>(plugin.api());
}

// Frees `error` and throws it as a CallError of `where`; returns if it is null.
void ThrowIfError(const PJRT_Api& api, PJRT_Error* error, std::string_view where);

[[noreturn]] void ThrowMissingMethod(const PJRT_Api& api, std::string_view method);

// Calls a method with `args`, whose struct_size it sets, and returns them with the outputs filled
// in. Throws CallError named after the method if the plugin reports an error or lacks the method.
template <auto Method>
MethodArgs<Method> Call(const PJRT_Api& api, MethodArgs<Method> args) {
  if (!Has<Method>(api)) ThrowMissingMethod(api, MethodName<Method>());
  args.struct_size = sizeof(args);
  ThrowIfError(api, (api.*Method)(&args), MethodName<Method>());
  return args;
}
template <auto Method>
MethodArgs<Method> Call(const Plugin& plugin, MethodArgs<Method> args) {
  return Call<Method>(plugin.api(), args);
}

// As Call, for methods that a plugin may leave out: nullopt where the plugin lacks the method or
// says UNIMPLEMENTED.
template <auto Method>
std::optional<MethodArgs<Method>> TryCall(const Plugin& plugin, MethodArgs<Method> args) {
  if (!Has<Method>(plugin)) return std::nullopt;
  try {
    return Call<Method>(plugin, args);
  } catch (const CallError& error) {
    if (error.code() == StatusCode::kUnimplemented) return std::nullopt;
    throw;
  }
}

// For destructors: frees an object and drops an error, which nobody could handle.
template <auto Method>
void Destroy(const Plugin& plugin, MethodArgs<Method> args) noexcept {
  args.struct_size = sizeof(args);
  if (PJRT_Error* error = (plugin.api().*Method)(&args)) {
    PJRT_Error_Destroy_Args destroy{.struct_size = sizeof(destroy), .error = error};
    plugin.api().PJRT_Error_Destroy(&destroy);
  }
}

// StableHLO text or bytecode as the plugin takes it; a view of `mlir`.
inline PJRT_Program MlirProgram(std::string_view mlir) {
  constexpr std::string_view kFormat = "mlir";
  // Compilation only reads the code, though the interface's pointer is not const.
  return {.struct_size = PJRT_Program_STRUCT_SIZE,
          .code = const_cast<char*>(mlir.data()),
          .code_size = mlir.size(),
          .format = kFormat.data(),
          .format_size = kFormat.size()};
}

}  // namespace sophia::pjrt
