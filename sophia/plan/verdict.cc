#include "sophia/plan/verdict.h"

#include <fmt/format.h>

#include "sophia/base/machine_memory.h"
#include "sophia/base/process.h"
#include "sophia/base/strings.h"
#include "sophia/plan/measure.h"
#include "sophia/plan/target.h"

namespace sophia::plan {
namespace {

bool IsCpu(const pjrt::Device& device) { return device.client().platform_name() == "cpu"; }

}  // namespace

Verdict Judge(const Program& program, const pjrt::Device& device, int64_t beside) {
  const pjrt::CompiledMemoryStats stats = program.executable().executable().MemoryStats();
  Verdict verdict{.need = DeviceBytes(stats) + beside, .offloaded = HostBytes(stats)};
  if (IsCpu(device)) {
    const int64_t resident = ResidentBytes();
    verdict.need += resident;
    verdict.limit = resident + MemoryOfMachine().available;
  } else {
    if (const auto memory = device.MemoryStats()) verdict.limit = memory->bytes_limit;
    verdict.host_limit = MemoryOfMachine().available;
  }
  return verdict;
}

std::string ToText(const Verdict& verdict) {
  std::string text = HumanBytes(verdict.need);
  if (verdict.limit) {
    text += fmt::format(" of {}: {}", HumanBytes(*verdict.limit),
                        FitText(verdict.need <= *verdict.limit, *verdict.limit - verdict.need));
  }
  if (verdict.offloaded > 0) {
    text += fmt::format("; {} in the host's memory", HumanBytes(verdict.offloaded));
  }
  if (!verdict.host_fits()) {
    text +=
        fmt::format(", which is short by {}", HumanBytes(verdict.offloaded - *verdict.host_limit));
  }
  return text;
}

Json ToJson(const Verdict& verdict) {
  Json json{{"fits", verdict.fits()},
            {"peak_bytes", verdict.need},
            {"limit_bytes", nullptr},
            {"offloaded_bytes", verdict.offloaded}};
  if (verdict.limit) json["limit_bytes"] = *verdict.limit;
  return json;
}

std::string FitText(bool fits, int64_t spare) {
  return fits ? fmt::format("fits, {} to spare", HumanBytes(spare))
              : fmt::format("does not fit, by {}", HumanBytes(-spare));
}

}  // namespace sophia::plan
