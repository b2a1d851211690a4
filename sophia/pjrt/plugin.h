#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sophia/base/error.h"
#include "sophia/pjrt/named_values.h"

struct PJRT_Api;
struct PJRT_Extension_Base;

namespace sophia::pjrt {

// As in https://abseil.io/docs/cpp/guides/status-codes.
enum class StatusCode : int {
  kOk,
  kCancelled,
  kUnknown,
  kInvalidArgument,
  kDeadlineExceeded,
  kNotFound,
  kAlreadyExists,
  kPermissionDenied,
  kResourceExhausted,
  kFailedPrecondition,
  kAborted,
  kOutOfRange,
  kUnimplemented,
  kInternal,
  kUnavailable,
  kDataLoss,
  kUnauthenticated,
};

// "RESOURCE_EXHAUSTED".
std::string_view Name(StatusCode code);

// A failed PJRT call: what() reads "[PJRT_Client_Compile] INVALID_ARGUMENT: message".
class CallError : public Error {
 public:
  CallError(std::string_view call, StatusCode code, std::string_view message)
      : Error(call, fmt::format("{}: {}", Name(code), message)), code_(code) {}

  StatusCode code() const { return code_; }

 private:
  StatusCode code_;
};

struct ApiVersion {
  int major_version = 0;
  int minor_version = 0;
};

// A loaded PJRT plugin. It is never unloaded, because plugins keep threads; whatever is made from
// it shares its ownership.
class Plugin : public std::enable_shared_from_this<Plugin> {
 public:
  // Loads and initialises a shared library that exports GetPjrtApi. Throws Error if it is missing,
  // is no plugin, has another major version or is too old. Sets TF_CPP_MIN_LOG_LEVEL=3 where unset,
  // so that only fatal messages reach stderr beside the errors thrown, and calls
  // PrepareForTpuCompilation for libtpu without a TPU.
  static std::shared_ptr<const Plugin> Load(const std::filesystem::path& path);

  // Checks and initialises a function table that lives as long as the process; `path` names it in
  // messages.
  static std::shared_ptr<const Plugin> Wrap(const PJRT_Api* api, std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  const PJRT_Api& api() const { return *api_; }
  ApiVersion api_version() const;

  // Text that differs between builds of a plugin, for keys of compiled programs: file name, size,
  // modification time and API version. The CPU plugin's own version strings say no more than "cpu".
  std::string Identity() const;
  // The same on every machine that has a copy of the file: its size and the API's version.
  std::string Build() const;

  // What the plugin says of itself: xla_version, stablehlo_current_version, ….
  NamedValues Attributes() const;

  // Takes the library's code out of this process' memory: what still runs is read from the file
  // again. After compilation that is most of it, since a compiler is large and steps need little.
  void DropCode() const;

  // The extension of a PJRT_Extension_Type, or null.
  const PJRT_Extension_Base* FindExtension(int type) const;

 private:
  Plugin(const PJRT_Api* api, std::filesystem::path path) : api_(api), path_(std::move(path)) {}

  const PJRT_Api* api_;
  std::filesystem::path path_;
};

// True if this machine shows a TPU device file.
bool HasTpu();

// Sets the environment variables with which libtpu compiles on a machine without a TPU, each only
// where unset: TPU_SKIP_MDS_QUERY, TPU_ACCELERATOR_TYPE and TPU_WORKER_HOSTNAMES, without which it
// asks a metadata server for minutes, and ALLOW_MULTIPLE_LIBTPU_LOAD, without which a second
// process that loads it fails at /tmp/libtpu_lockfile. Plugin::Load calls it.
void PrepareForTpuCompilation();

struct PluginSearch {
  std::optional<std::filesystem::path> path;  // the user's flag; taken as it is
  std::string platform = "cpu";               // cpu, tpu or cuda
};

// Where a platform's plugin may lie, in order: .deps/plugins beside or above the program and the
// current folder, then the usual places of libtpu ($TPU_LIBRARY_PATH, installed Python packages,
// /lib and /usr/lib) and of JAX's plugins. Throws Error for an unknown platform.
std::vector<std::filesystem::path> PluginCandidates(std::string_view platform);

// The plugin's file, by order: `path`, $SOPHIA_PJRT_PLUGIN, the first of PluginCandidates that
// exists. Throws Error that lists every place looked at.
std::filesystem::path FindPlugin(const PluginSearch& search);

}  // namespace sophia::pjrt
