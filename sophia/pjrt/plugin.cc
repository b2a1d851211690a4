#include "sophia/pjrt/plugin.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <span>

#include "sophia/pjrt/call.h"

namespace sophia::pjrt {
namespace {

namespace fs = std::filesystem;

// The calls that no use of the engine can do without end here in the table.
constexpr size_t kMinimumTableSize =
    offsetof(PJRT_Api, PJRT_Buffer_CopyToMemory) + sizeof(PJRT_Api::PJRT_Buffer_CopyToMemory);

void CheckVersion(const PJRT_Api* api, const fs::path& path) {
  if (api == nullptr) {
    Fail(path.native(), "expected GetPjrtApi to return a function table, got null");
  }
  const PJRT_Api_Version& version = api->pjrt_api_version;
  if (version.major_version != PJRT_API_MAJOR) {
    Fail(path.native(), "expected a plugin of PJRT API {}.x, got {}.{}", PJRT_API_MAJOR,
         version.major_version, version.minor_version);
  }
  if (api->struct_size < kMinimumTableSize) {
    Fail(path.native(),
         "expected a newer plugin with a function table of {} bytes or more, got {} "
         "(PJRT API {}.{})",
         kMinimumTableSize, api->struct_size, version.major_version, version.minor_version);
  }
}

// For dl_iterate_phdr: gives back the executable pages of the library that holds `address`. They
// are never written to, so nothing is lost.
int DropCodeAround(dl_phdr_info* library, size_t, void* address) {
  const std::span segments(library->dlpi_phdr, library->dlpi_phnum);
  const auto begin = [&](const ElfW(Phdr) & s) { return library->dlpi_addr + s.p_vaddr; };
  const auto at = reinterpret_cast<ElfW(Addr)>(address);
  if (std::ranges::none_of(segments, [&](const ElfW(Phdr) & s) {
        return s.p_type == PT_LOAD && at >= begin(s) && at < begin(s) + s.p_memsz;
      })) {
    return 0;
  }
  const auto page = static_cast<ElfW(Addr)>(sysconf(_SC_PAGESIZE));
  for (const ElfW(Phdr) & s : segments) {
    if (s.p_type != PT_LOAD || (s.p_flags & PF_X) == 0 || (s.p_flags & PF_W) != 0) continue;
    const ElfW(Addr) first = (begin(s) + page - 1) / page * page;
    const ElfW(Addr) last = (begin(s) + s.p_filesz) / page * page;
    if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  }
  return 1;
}

void SetIfUnset(const char* name, const char* value) { setenv(name, value, 0); }

}  // namespace

std::shared_ptr<const Plugin> Plugin::Load(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) {
    Fail(path.native(), "expected a PJRT plugin (a shared library), got no such file");
  }
  SetIfUnset("TF_CPP_MIN_LOG_LEVEL", "3");
  void* library = dlopen(fs::absolute(path).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    Fail(path.native(), "expected a PJRT plugin (a shared library), got: {}",
         reason == nullptr ? "unknown failure" : reason);
  }
  auto* get_api = reinterpret_cast<const PJRT_Api* (*)()>(dlsym(library, "GetPjrtApi"));
  if (get_api == nullptr) {
    dlclose(library);
    Fail(path.native(), "expected a PJRT plugin, got a library without the symbol GetPjrtApi");
  }
  if (dlsym(library, "TfTpu_Initialize") != nullptr && !HasTpu()) PrepareForTpuCompilation();
  return Wrap(get_api(), fs::absolute(path));
}

std::shared_ptr<const Plugin> Plugin::Wrap(const PJRT_Api* api, fs::path path) {
  CheckVersion(api, path);
  std::shared_ptr<const Plugin> plugin(new Plugin(api, std::move(path)));
  Call<&PJRT_Api::PJRT_Plugin_Initialize>(*plugin, {});
  return plugin;
}

ApiVersion Plugin::api_version() const {
  return {api_->pjrt_api_version.major_version, api_->pjrt_api_version.minor_version};
}

std::string Plugin::Identity() const {
  std::error_code ignored;
  const auto modified = fs::last_write_time(path_, ignored).time_since_epoch().count();
  return fmt::format("{} modified {}, {}", path_.filename().native(), modified, Build());
}

std::string Plugin::Build() const {
  std::error_code ignored;
  const ApiVersion version = api_version();
  return fmt::format("{} bytes, PJRT API {}.{}", fs::file_size(path_, ignored),
                     version.major_version, version.minor_version);
}

NamedValues Plugin::Attributes() const {
  const auto args = TryCall<&PJRT_Api::PJRT_Plugin_Attributes>(*this, {});
  return args ? FromPjrt(args->attributes, args->num_attributes) : NamedValues{};
}

void Plugin::DropCode() const { dl_iterate_phdr(DropCodeAround, const_cast<PJRT_Api*>(api_)); }

const PJRT_Extension_Base* Plugin::FindExtension(int type) const {
  for (const auto* it = api_->extension_start; it != nullptr; it = it->next) {
    if (static_cast<int>(it->type) == type) return it;
  }
  return nullptr;
}

bool HasTpu() {
  std::error_code ignored;
  return fs::exists("/dev/accel0", ignored) || fs::exists("/dev/vfio/0", ignored);
}

void PrepareForTpuCompilation() {
  SetIfUnset("ALLOW_MULTIPLE_LIBTPU_LOAD", "1");
  SetIfUnset("TPU_SKIP_MDS_QUERY", "1");
  SetIfUnset("TPU_ACCELERATOR_TYPE", "v5litepod-4");
  SetIfUnset("TPU_WORKER_HOSTNAMES", "localhost");
}

}  // namespace sophia::pjrt
