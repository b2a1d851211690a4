// What a kernel's specification must obey. libtpu refuses some of these rules in its own words, and
// checks others not at all.
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "sophia/base/rounding.h"
#include "sophia/base/strings.h"
#include "sophia/pallas/trace.h"

namespace sophia::pallas {
namespace {

// Index maps are evaluated for all programs up to this many, then for the corners of the grid.
constexpr int64_t kMaxPrograms = 1 << 16;

[[noreturn]] void FailSpec(const Kernel& kernel, const std::string& message) {
  FailKernel(kernel.loc, message);
}

void CheckElementType(const Kernel& kernel, std::string_view name, const Shape& shape) {
  const bool is_known = Info(shape.dtype).bits <= 32 && shape.dtype != DType::kF16;
  if (!is_known || shape.dtype == DType::kBool) {
    FailSpec(kernel,
             fmt::format("{}: expected an element type that TPU kernels have (f32, bf16, f8, "
                         "integers up to 32 bits{}), got {}",
                         name, shape.dtype == DType::kBool ? "; pass bool as s32" : "",
                         Name(shape.dtype)));
  }
  if (shape.dims.empty()) {
    FailSpec(kernel, fmt::format("{}: expected at least one dimension, got {}; reshape to [1, 1]",
                                 name, ToString(shape)));
  }
  for (const int64_t dim : shape.dims) {
    if (dim < 1) {
      FailSpec(kernel,
               fmt::format("{}: expected sizes of at least 1, got {}", name, ToString(shape)));
    }
  }
}

int64_t NearestMultiple(int64_t value, int64_t multiple) {
  return std::max(multiple, (value + multiple / 2) / multiple * multiple);
}

// Blocks in tiles: whole dimensions, or multiples of 8 rows and 128 lanes.
void CheckTiling(const Kernel& kernel, const std::string& name, const Window& window) {
  const Dims& array = window.array.dims;
  const size_t rank = array.size();
  const auto check = [&](size_t axis, int64_t multiple) {
    const int64_t block = window.block[axis];
    if (block % multiple == 0 || block == array[axis]) return;
    FailSpec(kernel,
             fmt::format("{}: expected block {} of {} to have a multiple of {} or all of the {} "
                         "elements along dimension {}, got {}; nearest {} or {}",
                         name, ToString(window.block), ToString(window.array), multiple,
                         array[axis], axis, block, NearestMultiple(block, multiple), array[axis]));
  };
  if (rank == 1) {
    check(0, kLanes * std::max(1, 32 / Info(window.array.dtype).bits));
    return;
  }
  check(rank - 1, kLanes);
  check(rank - 2, kSublanes);
}

// The window of an operand in VMEM or SMEM and the shape of its ref.
std::unique_ptr<Window> MakeWindow(const Kernel& kernel, const std::string& name,
                                   const BlockSpec& spec, const Shape& array, Shape& ref) {
  auto window = std::make_unique<Window>();
  window->array = array;
  window->block = spec.block.empty() ? array.dims : spec.block;
  if (window->block.size() != array.dims.size()) {
    FailSpec(kernel, fmt::format("{}: expected a block of rank {} as {}, got {}", name,
                                 array.rank(), ToString(array), ToString(window->block)));
  }
  ref.dims.clear();
  for (size_t i = 0; i < window->block.size(); ++i) {
    int64_t& size = window->block[i];
    const bool squeezed = size == kSqueezed;
    if (squeezed && (ref.dims.size() != 0 || i + 2 >= window->block.size())) {
      FailSpec(kernel,
               fmt::format("{}: expected kSqueezed in leading dimensions before the last two, "
                           "got dimension {} of {}",
                           name, i, ToString(array)));
    }
    if (!squeezed && size < 1) {
      FailSpec(kernel, fmt::format("{}: expected block sizes of at least 1 or kSqueezed, got {}",
                                   name, ToString(window->block)));
    }
    if (squeezed) {
      size = 1;
    } else {
      ref.dims.push_back(size);
    }
  }
  if (kernel.spec.grid.empty() && window->block != array.dims) {
    FailSpec(kernel,
             fmt::format("{}: expected the whole array {} as block in a kernel without grid, "
                         "got {}",
                         name, ToString(array), ToString(window->block)));
  }
  if (spec.space == MemorySpace::kVmem) CheckTiling(kernel, name, *window);
  if (spec.space == MemorySpace::kSmem) {
    const size_t last = array.dims.size() - 1;
    for (size_t i = last == 0 ? 0 : last - 1; i <= last; ++i) {
      if (window->block[i] == array.dims[i]) continue;
      FailSpec(kernel,
               fmt::format("{}: expected the whole of the last two dimensions of {} in smem, "
                           "got block {}",
                           name, ToString(array), ToString(window->block)));
    }
  }
  return kernel.spec.grid.empty() ? nullptr : std::move(window);
}

void AddOperand(Kernel& kernel, RefDef::Role role, const std::string& name, const BlockSpec& spec,
                const Shape& array) {
  CheckElementType(kernel, name, array);
  RefDef def{.name = name, .role = role, .space = spec.space, .shape = array};
  std::unique_ptr<Window> window;
  if (spec.space == MemorySpace::kSemaphore) {
    FailSpec(kernel, fmt::format("{}: expected vmem, smem or any, got a semaphore", name));
  }
  if (spec.space == MemorySpace::kAny) {
    if (!spec.block.empty() || spec.index_map != nullptr) {
      FailSpec(
          kernel,
          fmt::format("{}: expected no block or index map in memory space any, got one", name));
    }
  } else {
    window = MakeWindow(kernel, name, spec, array, def.shape);
  }
  kernel.refs.push_back(std::move(def));
  kernel.windows.push_back(std::move(window));
}

void CheckCount(const Kernel& kernel, std::string_view what, size_t expected, size_t got) {
  if (expected != got) {
    FailSpec(kernel, fmt::format("expected {} {}, got {}", expected, what, got));
  }
}

void CheckSpec(const Kernel& kernel) {
  const KernelSpec& spec = kernel.spec;
  const bool is_identifier =
      !spec.name.empty() && std::all_of(spec.name.begin(), spec.name.end(), [](char c) {
        return c == '_' || std::isalnum(static_cast<unsigned char>(c)) != 0;
      });
  if (!is_identifier) FailSpec(kernel, "expected a name of letters, digits and '_'");
  for (const int64_t size : spec.grid) {
    if (size < 1 || size > 2147483646) {
      FailSpec(kernel, fmt::format("expected grid sizes from 1 to 2147483646, got {}",
                                   ToString(spec.grid)));
    }
  }
  if (!spec.dimension_semantics.empty()) {
    CheckCount(kernel, "dimension_semantics, one for each grid dimension", spec.grid.size(),
               spec.dimension_semantics.size());
  }
  const auto prefetch = static_cast<size_t>(spec.num_scalar_prefetch);
  if (spec.num_scalar_prefetch < 0 || prefetch > kernel.inputs.size()) {
    FailSpec(kernel, fmt::format("expected num_scalar_prefetch from 0 to the {} inputs, got {}",
                                 kernel.inputs.size(), spec.num_scalar_prefetch));
  }
  CheckCount(kernel, "in_specs, one for each input after the prefetched ones",
             kernel.inputs.size() - prefetch, spec.in_specs.size());
  CheckCount(kernel, "out_specs, one for each of out_shapes", spec.out_shapes.size(),
             spec.out_specs.size());
  if (spec.out_shapes.empty()) FailSpec(kernel, "expected at least one output, got none");
  for (const auto& [input, output] : spec.input_output_aliases) {
    const bool exist = input >= 0 && input < static_cast<int64_t>(kernel.inputs.size()) &&
                       output >= 0 && output < static_cast<int64_t>(spec.out_shapes.size());
    if (!exist) {
      FailSpec(kernel,
               fmt::format("input_output_aliases: expected an input and an output, got {} and "
                           "{}",
                           input, output));
    }
    const Shape& from = kernel.inputs[static_cast<size_t>(input)];
    const Shape& to = spec.out_shapes[static_cast<size_t>(output)];
    if (from != to) {
      FailSpec(kernel,
               fmt::format("input_output_aliases: expected input {} and output {} of one shape, "
                           "got {} and {}",
                           input, output, ToString(from), ToString(to)));
    }
  }
}

// Evaluates an index map for given program ids; nullopt if it depends on data.
std::optional<std::vector<int64_t>> Evaluate(const Block& map, const std::vector<int64_t>& ids) {
  std::unordered_map<Val, int64_t, ValHash> values;
  for (size_t i = 0; i < map.parameters.size(); ++i) {
    values[{map.parameters[i].get(), 0}] = ids[i];
  }
  for (const auto& instr : map.instrs) {
    if (instr->op->fold == nullptr) return std::nullopt;
    std::vector<int64_t> inputs;
    for (const Val& input : instr->inputs) inputs.push_back(values.at(input));
    values[{instr.get(), 0}] = instr->op->fold(*instr, inputs);
  }
  std::vector<int64_t> results;
  for (const Val& result : map.results) results.push_back(values.at(result));
  return results;
}

// Calls `visit` with the ids of every program, or of those at the grid's corners.
void ForPrograms(const Dims& grid, const std::function<bool(const Dims& ids)>& visit) {
  const bool all = Product(grid) <= kMaxPrograms;
  Dims ids(grid.size(), 0);
  while (visit(ids)) {
    size_t axis = grid.size();
    while (axis > 0) {
      int64_t& id = ids[axis - 1];
      id = all ? id + 1 : (id == 0 && grid[axis - 1] > 1 ? grid[axis - 1] - 1 : grid[axis - 1]);
      if (id < grid[axis - 1]) break;
      id = 0;
      --axis;
    }
    if (axis == 0) return;
  }
}

}  // namespace

void LayOutRefs(Kernel& kernel) {
  CheckSpec(kernel);
  const KernelSpec& spec = kernel.spec;
  const auto prefetch = static_cast<size_t>(spec.num_scalar_prefetch);
  for (size_t i = 0; i < kernel.inputs.size(); ++i) {
    if (i < prefetch) {
      const std::string name = fmt::format("prefetch[{}]", i);
      CheckElementType(kernel, name, kernel.inputs[i]);
      kernel.refs.push_back({name, RefDef::Role::kPrefetch, MemorySpace::kSmem, kernel.inputs[i]});
      kernel.windows.push_back(nullptr);
      continue;
    }
    AddOperand(kernel, RefDef::Role::kInput, fmt::format("in[{}]", i - prefetch),
               spec.in_specs[i - prefetch], kernel.inputs[i]);
  }
  for (size_t i = 0; i < spec.out_shapes.size(); ++i) {
    AddOperand(kernel, RefDef::Role::kOutput, fmt::format("out[{}]", i), spec.out_specs[i],
               spec.out_shapes[i]);
  }
  for (size_t i = 0; i < spec.scratch_shapes.size(); ++i) {
    const ScratchSpec& scratch = spec.scratch_shapes[i];
    const std::string name = fmt::format("scratch[{}]", i);
    if (scratch.space == MemorySpace::kAny) {
      FailSpec(kernel, fmt::format("{}: expected vmem, smem or a semaphore, got any", name));
    }
    if (scratch.space != MemorySpace::kSemaphore) CheckElementType(kernel, name, scratch.shape);
    kernel.refs.push_back({name, RefDef::Role::kScratch, scratch.space, scratch.shape});
    kernel.windows.push_back(nullptr);
  }
}

void CheckWindows(const Kernel& kernel) {
  for (size_t i = 0; i < kernel.windows.size(); ++i) {
    const Window* window = kernel.windows[i].get();
    if (window == nullptr) continue;
    ForPrograms(kernel.spec.grid, [&](const Dims& ids) {
      const auto indices = Evaluate(*window->index_map, ids);
      if (!indices) return false;
      for (size_t axis = 0; axis < indices->size(); ++axis) {
        const int64_t size = window->array.dims[axis];
        const int64_t blocks = CeilDiv(size, window->block[axis]);
        const int64_t index = (*indices)[axis];
        if (0 <= index && index < blocks) continue;
        FailSpec(
            kernel,
            fmt::format("{}: expected block indices below {} along dimension {} of {} in blocks "
                        "{}, got {} for program {}",
                        kernel.refs[i].name, blocks, axis, ToString(window->array),
                        ToString(window->block), index, ToString(ids)));
      }
      return true;
    });
  }
}

}  // namespace sophia::pallas
