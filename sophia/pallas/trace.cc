#include "sophia/pallas/trace.h"

#include <algorithm>
#include <set>

#include "sophia/graph/ops/op_util.h"

namespace sophia::pallas {
namespace {

thread_local Tracer* current = nullptr;

std::vector<Val> ParametersOf(const Block& block) {
  std::vector<Val> values;
  for (const auto& parameter : block.parameters) values.emplace_back(parameter.get(), 0);
  return values;
}

void CollectWrites(const Block& block, std::set<int64_t>& refs) {
  for (const auto& instr : block.instrs) {
    if (instr->op == &kStore) refs.insert(instr->attrs.Get<int64_t>("ref"));
    if (instr->op == &kDmaStart) refs.insert(instr->attrs.Get<int64_t>("target"));
    for (const auto& inner : instr->blocks) CollectWrites(*inner, refs);
  }
}

void TraceIndexMaps(Tracer& tracer, Kernel& kernel, const std::vector<Ref>& prefetch) {
  const auto programs = std::vector<Shape>(kernel.spec.grid.size(), {DType::kS32, {}});
  const auto first = static_cast<size_t>(kernel.spec.num_scalar_prefetch);
  for (size_t i = first; i < kernel.windows.size(); ++i) {
    Window* window = kernel.windows[i].get();
    if (window == nullptr) continue;
    const BlockSpec& spec = i < kernel.first_output()
                                ? kernel.spec.in_specs[i - first]
                                : kernel.spec.out_specs[i - kernel.first_output()];
    window->index_map = tracer.Trace(programs, kernel.loc, [&](const std::vector<Val>& ids) {
      std::vector<Val> indices;
      const size_t rank = window->block.size();
      const BlockIndex results = spec.index_map == nullptr ? BlockIndex(rank, Arg(0, kernel.loc))
                                                           : spec.index_map({ids, prefetch});
      if (results.size() != rank) {
        FailKernel(
            kernel.loc,
            fmt::format("{}: expected an index map that gives {} block indices, one for each "
                        "dimension of {}, got {}",
                        kernel.refs[i].name, rank, ToString(window->array), results.size()));
      }
      for (const Arg& result : results) indices.push_back(AsIndex(result, "a block index"));
      return indices;
    });
    window->is_constant =
        std::all_of(window->index_map->results.begin(), window->index_map->results.end(),
                    [](const Val& index) { return IsConstant(index); });
  }
}

}  // namespace

Tracer::Tracer(Kernel& kernel, std::optional<Chip> chip)
    : kernel_(kernel), chip_(chip), previous_(current) {
  current = this;
}

Tracer::~Tracer() { current = previous_; }

Tracer& Tracer::Current() {
  SOPHIA_CHECK(current != nullptr && current->tracing(),
               "kernel ops belong in a kernel's body or index map");
  return *current;
}

const Tracer* Tracer::Active() { return current; }

void Tracer::TraceInto(Block& block, const std::function<void()>& body) {
  open_.push_back(&block);
  body();
  open_.pop_back();
}

bool Tracer::IsOpen(const Block* block) const {
  return std::find(open_.begin(), open_.end(), block) != open_.end();
}

std::unique_ptr<Block> Tracer::Trace(
    const std::vector<Shape>& parameters, Loc loc,
    const std::function<std::vector<Val>(const std::vector<Val>&)>& body) {
  auto block = std::make_unique<Block>();
  for (const Shape& shape : parameters) AddParameter(*block, shape, loc);
  TraceInto(*block, [&] { block->results = body(ParametersOf(*block)); });
  return block;
}

Val AddParameter(Block& block, const Shape& shape, Loc loc) {
  block.parameters.push_back(std::make_unique<Instr>());
  Instr& instr = *block.parameters.back();
  instr.op = &kParameter;
  instr.parent = &block;
  instr.results = {shape};
  instr.loc = loc;
  return {&instr, 0};
}

Val AsIndex(const Arg& arg, std::string_view what) {
  if (arg.number()) {
    const double number = *arg.number();
    if (number != static_cast<double>(static_cast<int32_t>(number))) {
      FailKernel(arg.loc(),
                 fmt::format("expected {} that is a 32-bit integer, got {}", what, number));
    }
    return Full({DType::kS32, {}}, number, arg.loc());
  }
  if (!arg.val().defined() || arg.val().shape() != Shape{DType::kS32, {}}) {
    FailKernel(arg.loc(),
               fmt::format("expected {} that is an s32 scalar, got {}", what,
                           arg.val().defined() ? ToString(arg.val().shape()) : "no value"));
  }
  return arg.val();
}

std::vector<int64_t> WrittenRefs(const Block& block) {
  std::set<int64_t> refs;
  CollectWrites(block, refs);
  return {refs.begin(), refs.end()};
}

bool DrawsRandomBits(const Block& block) {
  for (const auto& instr : block.instrs) {
    if (instr->op == &kPrngSeed || instr->op == &kPrngBits) return true;
    for (const auto& inner : instr->blocks) {
      if (DrawsRandomBits(*inner)) return true;
    }
  }
  return false;
}

const Shape& Val::shape() const {
  SOPHIA_CHECK(instr_ != nullptr, "a kernel value is used that was never set");
  return instr_->results[static_cast<size_t>(index_)];
}

int64_t Val::dim(int64_t axis) const {
  return dims().at(static_cast<size_t>(axis < 0 ? axis + rank() : axis));
}

std::string_view Name(MemorySpace space) {
  switch (space) {
    case MemorySpace::kVmem:
      return "vmem";
    case MemorySpace::kSmem:
      return "smem";
    case MemorySpace::kAny:
      return "any";
    default:
      return "semaphore_mem";
  }
}

void FailKernel(Loc loc, std::string_view message) {
  const Tracer* tracer = Tracer::Active();
  FailAt(loc, "kernel '{}': {}", tracer == nullptr ? "" : tracer->kernel().spec.name, message);
}

Instr* AddInstr(const KernelOp& op, std::vector<Val> inputs, Attrs attrs, Loc loc,
                std::vector<std::unique_ptr<Block>> blocks) {
  Tracer& tracer = Tracer::Current();
  auto instr = std::make_unique<Instr>();
  instr->op = &op;
  instr->inputs = std::move(inputs);
  instr->attrs = std::move(attrs);
  instr->blocks = std::move(blocks);
  instr->loc = loc;
  for (const Val& input : instr->inputs) {
    if (!input.defined()) FailIn(*instr, "expected a value, got none");
    if (!tracer.IsOpen(input.instr()->parent)) {
      FailIn(*instr,
             "expected a value of this block or one around it, got one from a branch or loop "
             "that has ended (line {})",
             input.instr()->loc.line());
    }
  }
  instr->results = op.type(*instr);
  if (op.multiple != nullptr) instr->multiple = op.multiple(*instr);
  if (tracer.chip() && op.lacks != nullptr) {
    const std::string lacking = op.lacks(*instr, Info(*tracer.chip()));
    if (!lacking.empty()) FailIn(*instr, "on TPU {}: {}", Info(*tracer.chip()).name, lacking);
  }
  instr->parent = &tracer.block();
  tracer.block().instrs.push_back(std::move(instr));
  return tracer.block().instrs.back().get();
}

Kernel TraceKernel(const KernelSpec& spec, const KernelBody& body, const std::vector<Shape>& inputs,
                   std::optional<Chip> chip, Loc loc) {
  Kernel kernel;
  kernel.spec = spec;
  kernel.inputs = inputs;
  kernel.loc = loc;
  Tracer tracer(kernel, chip);
  LayOutRefs(kernel);
  if (chip) CheckMemory(kernel, *chip);

  KernelRefs refs;
  for (size_t i = 0; i < kernel.refs.size(); ++i) {
    const RefDef& def = kernel.refs[i];
    std::vector<Ref>& list = def.role == RefDef::Role::kPrefetch ? refs.prefetch
                             : def.role == RefDef::Role::kInput  ? refs.in
                             : def.role == RefDef::Role::kOutput ? refs.out
                                                                 : refs.scratch;
    list.emplace_back(static_cast<int64_t>(i), def);
  }
  TraceIndexMaps(tracer, kernel, refs.prefetch);
  CheckWindows(kernel);
  for (size_t i = 0; i < spec.grid.size(); ++i) {
    AddParameter(kernel.body, {DType::kS32, {}}, loc);
  }
  tracer.TraceInto(kernel.body, [&] { body(refs); });
  return kernel;
}

}  // namespace sophia::pallas
