#include "sophia/pjrt/call.h"

#include <array>
#include <string>

#include "sophia/base/strings.h"

namespace sophia::pjrt {
namespace {

constexpr std::array<std::string_view, 17> kCodeNames = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};

// UNKNOWN if the plugin cannot tell.
PJRT_Error_Code Code(const PJRT_Api& api, PJRT_Error* error) {
  PJRT_Error_GetCode_Args args{.struct_size = sizeof(args), .error = error};
  if (PJRT_Error* second = api.PJRT_Error_GetCode(&args)) {
    PJRT_Error_Destroy_Args destroy{.struct_size = sizeof(destroy), .error = second};
    api.PJRT_Error_Destroy(&destroy);
    return PJRT_Error_Code_UNKNOWN;
  }
  return args.code;
}

}  // namespace

std::string_view Name(StatusCode code) {
  const auto index = static_cast<size_t>(code);
  return index < kCodeNames.size() ? kCodeNames[index] : "UNKNOWN";
}

void ThrowIfError(const PJRT_Api& api, PJRT_Error* error, std::string_view where) {
  if (error == nullptr) return;
  PJRT_Error_Message_Args message{.struct_size = sizeof(message), .error = error};
  api.PJRT_Error_Message(&message);
  const std::string text(Trim({message.message, message.message_size}));
  const auto code = static_cast<StatusCode>(Code(api, error));
  PJRT_Error_Destroy_Args destroy{.struct_size = sizeof(destroy), .error = error};
  api.PJRT_Error_Destroy(&destroy);
  throw CallError(where, code, text);
}

void ThrowMissingMethod(const PJRT_Api& api, std::string_view method) {
  throw CallError(
      method, StatusCode::kUnimplemented,
      fmt::format("expected a plugin that offers this call, got one of PJRT API {}.{}",
                  api.pjrt_api_version.major_version, api.pjrt_api_version.minor_version));
}

}  // namespace sophia::pjrt
