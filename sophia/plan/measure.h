#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sophia/graph/graph.h"
#include "sophia/pjrt/executable.h"
#include "sophia/plan/target.h"
#include "sophia/runtime/cache.h"

namespace sophia::plan {

// What the target's compiler says of a program.
struct Measurement {
  bool fits = false;
  int64_t need = 0;            // device memory of the program with its arguments; see MeasureOnCpu
  int64_t offloaded = 0;       // bytes in host memory, beside `need`
  int64_t compiler_bytes = 0;  // resident memory of the compiler's process at its peak
  double seconds = 0;          // of the whole compilation; 0 where it stopped early
  double step_seconds = 0;     // of one run, where there was one
  double cycles = 0;           // of one run but for its kernels, see EstimatedCycles; 0: not known
  bool complete = false;       // compiled to the end or run, so that `fits` is certain
  std::string compiler;        // "libtpu 0.0.52", or the plugin's platform version
};

// What a program needs of its device, with its arguments, and of the host.
int64_t DeviceBytes(const pjrt::CompiledMemoryStats& stats);
int64_t HostBytes(const pjrt::CompiledMemoryStats& stats);

// What libtpu's check before most of the compilation says that the program needs when it may take
// only `limit` bytes: near the limit it trades time for memory. nullopt: that is enough, or
// compiling failed later.
std::optional<int64_t> EarlyNeed(const Target& target, const Graph& graph, int64_t limit);

// Compiles the program for a TPU to its end, or until libtpu says that it does not fit, and keeps
// it in `cache`, if given. Throws Error for other failures of the compiler.
Measurement CompileForTpu(const Target& target, const Graph& graph,
                          const CompileCache* cache = nullptr);

// Compiles the program for this machine's CPU. `need` is all that the process takes. With `run` and
// no more than `limit` bytes it also runs once, on zeros: what the compiler does not plan, such as
// the buffers that matrix products pack their operands into, counts then as well. `cache` as above.
Measurement MeasureOnCpu(const Target& target, const Graph& graph, int64_t limit, bool run,
                         const CompileCache* cache = nullptr);

// The bytes of a compiler's "5.14G", binary units. Throws Error for other texts.
int64_t ParseBytes(const std::string& text);

}  // namespace sophia::plan
