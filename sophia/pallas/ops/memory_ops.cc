// Kernel ops that touch refs: loads, stores, DMAs.
#include <fmt/ranges.h>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/pallas/ops/op_util.h"

namespace sophia::pallas {
namespace {

constexpr int64_t kLanes = 128;

// The part that an instruction names `attribute`, its starts from input `first` on.
Part PartOf(const Instr& instr, std::string_view attribute, std::string_view sizes, size_t first) {
  Part part{.ref = instr.attrs.Get<int64_t>(attribute), .sizes = instr.attrs.Get<Dims>(sizes)};
  const auto begin = instr.inputs.begin() + static_cast<int64_t>(first);
  part.starts.assign(begin, begin + static_cast<int64_t>(part.sizes.size()));
  return part;
}

Part LoadedPart(const Instr& instr) { return PartOf(instr, "ref", "sizes", 0); }
Part StoredPart(const Instr& instr) { return PartOf(instr, "ref", "sizes", 1); }

const RefDef& DefOf(const Part& part) {
  return Tracer::Current().kernel().refs[static_cast<size_t>(part.ref)];
}

// What a dynamic start along a dimension must be a multiple of, for libtpu to take it.
int64_t Alignment(const Part& part, size_t axis, DType dtype, bool is_dma) {
  const size_t rank = part.sizes.size();
  if (axis + 1 == rank) return kLanes;
  if (axis + 2 != rank) return 1;
  const int bits = Info(dtype).bits;
  if (bits == 32 && part.sizes[axis] == 1) return 1;
  return bits >= 16 || is_dma ? 8 : 256 / bits;
}

void CheckAlignment(const Instr& instr, const Part& part, bool is_dma) {
  const RefDef& def = DefOf(part);
  if (def.space == MemorySpace::kSmem || def.space == MemorySpace::kSemaphore) return;
  for (size_t i = 0; i < part.sizes.size(); ++i) {
    const int64_t alignment = Alignment(part, i, def.shape.dtype, is_dma);
    const bool is_lane = i + 1 == part.sizes.size();
    int64_t start = 0;
    if (IsConstant(part.starts[i], &start)) {
      if (is_dma && is_lane && start % kLanes != 0) {
        FailIn(instr,
               "{}: expected a DMA to start at a multiple of {} along the last dimension, got {}; "
               "nearest {}",
               def.name, kLanes, start, start / kLanes * kLanes);
      }
    } else if (part.starts[i].instr()->multiple % alignment != 0) {
      FailIn(
          instr,
          "{}: expected a start along dimension {} that is known to be a multiple of {}, got one "
          "that is known to be one of {}; multiply an index by {} or use AssumeMultiple",
          def.name, i, alignment, part.starts[i].instr()->multiple, alignment);
    }
    if (is_dma && is_lane && part.sizes[i] % kLanes != 0 && part.sizes[i] != def.shape.dims[i]) {
      FailIn(instr, "{}: expected a DMA of whole rows or a multiple of {} lanes, got {}", def.name,
             kLanes, part.sizes[i]);
    }
  }
}

std::vector<MosaicWriter::Operand> Indices(const Part& part, DType dtype, MosaicWriter& writer) {
  std::vector<MosaicWriter::Operand> indices;
  for (size_t i = 0; i < part.starts.size(); ++i) {
    indices.push_back(writer.GetIndex(part.starts[i], Alignment(part, i, dtype, false)));
  }
  return indices;
}

bool IsSmem(const Instr& instr, const Kernel& kernel) {
  return kernel.refs[static_cast<size_t>(instr.attrs.Get<int64_t>("ref"))].space ==
         MemorySpace::kSmem;
}

std::vector<Shape> LoadType(const Instr& instr) {
  const Part part = LoadedPart(instr);
  const RefDef& def = DefOf(part);
  if (def.space == MemorySpace::kSmem) return {{def.shape.dtype, {}}};
  CheckAlignment(instr, part, false);
  return {{def.shape.dtype, part.sizes}};
}

void PrintLoad(const Instr& instr, MosaicWriter& writer) {
  const Part part = LoadedPart(instr);
  const bool is_smem = IsSmem(instr, writer.kernel());
  std::vector operands = {writer.GetRef(part.ref)};
  for (auto& index :
       is_smem ? writer.GetIndices(part.starts) : Indices(part, instr.results[0].dtype, writer)) {
    operands.push_back(std::move(index));
  }
  writer.Bind({const_cast<Instr*>(&instr), 0},
              writer.Emit(is_smem ? "memref.load" : "vector.load", operands, "",
                          MosaicWriter::Type(instr.results[0])));
}

std::vector<Tensor> InterpretLoad(const Instr& instr, Interpreter& in) {
  const Tensor part = in.ReadPart(LoadedPart(instr), instr.loc);
  return {sophia::Reshape(part, instr.results[0].dims, instr.loc)};
}

void PrintStore(const Instr& instr, MosaicWriter& writer) {
  const Part part = StoredPart(instr);
  const Val& value = instr.inputs[0];
  std::vector operands = {writer.Get(value), writer.GetRef(part.ref)};
  if (IsSmem(instr, writer.kernel())) {
    for (auto& index : writer.GetIndices(part.starts)) operands.push_back(std::move(index));
    writer.EmitVoid("memref.store", operands, "");
    return;
  }
  for (auto& index : Indices(part, value.dtype(), writer)) operands.push_back(std::move(index));
  const bool masked = instr.attrs.Get<bool>("masked");
  if (masked) operands.push_back(writer.Get(instr.inputs.back()));
  writer.EmitVoid(
      "tpu.vector_store", operands,
      fmt::format("add = false, operandSegmentSizes = array<i32: 1, 1, {}, {}>, strides = "
                  "array<i32>",
                  part.starts.size(), masked ? 1 : 0));
}

std::vector<Tensor> InterpretStore(const Instr& instr, Interpreter& in) {
  const Part part = StoredPart(instr);
  Tensor value = sophia::Reshape(in.In(instr, 0), part.sizes, instr.loc);
  if (instr.attrs.Get<bool>("masked")) {
    const Tensor old = in.ReadPart(part, instr.loc);
    value = sophia::Select(in.Get(instr.inputs.back()), {value, instr.loc}, {old, instr.loc});
  }
  in.WritePart(part, value, instr.loc);
  return {};
}

std::vector<Shape> StoreType(const Instr& instr) {
  const Part part = StoredPart(instr);
  if (DefOf(part).space != MemorySpace::kSmem) CheckAlignment(instr, part, false);
  return {};
}

// A DMA's three refs.
struct Transfer {
  Part source;
  Part target;
  Part semaphore;
};

Transfer TransferOf(const Instr& instr) {
  Transfer transfer;
  transfer.source = PartOf(instr, "source", "source_sizes", 0);
  size_t first = transfer.source.sizes.size();
  transfer.target = PartOf(instr, "target", "target_sizes", first);
  first += transfer.target.sizes.size();
  transfer.semaphore = PartOf(instr, "semaphore", "semaphore_sizes", first);
  return transfer;
}

std::vector<Shape> DmaType(const Instr& instr) {
  const Transfer transfer = TransferOf(instr);
  CheckAlignment(instr, transfer.source, true);
  CheckAlignment(instr, transfer.target, true);
  return {};
}

void PrintDma(const Instr& instr, MosaicWriter& writer) {
  const Transfer transfer = TransferOf(instr);
  const Dims& dims = instr.attrs.Get<Dims>("dims");
  const auto semaphore = writer.GetPart(transfer.semaphore, {});
  const auto source = writer.GetPart(transfer.source, dims);
  const auto target = writer.GetPart(transfer.target, dims);
  if (instr.op == &kDmaStart) {
    writer.EmitVoid("tpu.enqueue_dma", {source, target, semaphore},
                    "operandSegmentSizes = array<i32: 1, 0, 1, 1, 0, 0>, priority = 0 : i32, "
                    "strict_ordering = false");
  } else {
    writer.EmitVoid("tpu.wait_dma2", {semaphore, source, target},
                    "operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>, strict_ordering = false");
  }
}

// v2 and v3 address rows of HBM by the 512 bytes that a tile's row takes.
std::string DmaLacks(const Instr& instr, const ChipInfo& chip) {
  if (chip.chip != Chip::kV2 && chip.chip != Chip::kV3) return "";
  const Transfer transfer = TransferOf(instr);
  for (const Part& part : {transfer.source, transfer.target}) {
    const RefDef& def = DefOf(part);
    const size_t rank = part.sizes.size();
    if (def.space != MemorySpace::kAny || rank < 2 || IsConstant(part.starts[rank - 2])) continue;
    const int64_t bytes = ByteSize(def.shape.dtype, def.shape.dims[rank - 1]);
    if (bytes < 1024) {
      return fmt::format(
          "{}: expected rows of at least 1024 bytes for a DMA at a dynamic row, got {}", def.name,
          bytes);
    }
  }
  return "";
}

}  // namespace

constinit const KernelOp kLoad =
    Op({.name = "load", .print = PrintLoad, .type = LoadType, .interpret = InterpretLoad});

constinit const KernelOp kStore =
    Op({.name = "store", .print = PrintStore, .type = StoreType, .interpret = InterpretStore});

// The interpreter copies at once; what reads too early is seen by the evaluator of the text.
constinit const KernelOp kDmaStart = Op({
    .name = "dma_start",
    .print = PrintDma,
    .type = DmaType,
    .interpret =
        [](const Instr& instr, Interpreter& in) {
          const Transfer transfer = TransferOf(instr);
          const Tensor value = in.ReadPart(transfer.source, instr.loc);
          in.WritePart(transfer.target, sophia::Reshape(value, transfer.target.sizes, instr.loc),
                       instr.loc);
          return std::vector<Tensor>{};
        },
    .lacks = DmaLacks,
});

constinit const KernelOp kDmaWait = Op({
    .name = "dma_wait",
    .print = PrintDma,
    .type = DmaType,
    .interpret = [](const Instr& /*instr*/, Interpreter& /*in*/) { return std::vector<Tensor>{}; },
    .lacks = DmaLacks,
});

Ref::Ref(int64_t root, const RefDef& def)
    : root_(root),
      def_(&def),
      shape_(def.shape),
      starts_(def.shape.dims.size(), Arg(0)),
      sizes_(def.shape.dims),
      dropped_(def.shape.dims.size(), false) {}

int64_t Ref::dim(int64_t axis) const {
  return dims().at(static_cast<size_t>(axis < 0 ? axis + shape_.rank() : axis));
}

Ref Ref::At(const std::vector<Index>& index, Loc loc) const {
  if (index.size() > dims().size()) {
    FailKernel(loc, fmt::format("{}: expected at most {} positions, got {}", def_->name,
                                dims().size(), index.size()));
  }
  Ref part = *this;
  part.shape_.dims.clear();
  size_t next = 0;
  for (size_t i = 0; i < sizes_.size(); ++i) {
    if (dropped_[i]) continue;
    const size_t at = next++;
    if (at >= index.size() || !index[at].start()) {
      part.shape_.dims.push_back(sizes_[i]);
      continue;
    }
    const Arg& start = *index[at].start();
    const int64_t size = index[at].size().value_or(1);
    const double first = start.number().value_or(0);
    if (size < 1 || first < 0 ||
        first + static_cast<double>(size) > static_cast<double>(sizes_[i])) {
      FailKernel(
          index[at].loc(),
          fmt::format("{}: expected a part of dimension {} of {}, got {} elements from {} on",
                      def_->name, at, ToString(shape_), size, first));
    }
    if (starts_[i].number() && start.number()) {
      part.starts_[i] = Arg(*starts_[i].number() + first, start.loc());
    } else if (starts_[i].number() && *starts_[i].number() == 0) {
      part.starts_[i] = start;
    } else {
      part.starts_[i] = Arg(Add(starts_[i], start), start.loc());
    }
    part.sizes_[i] = size;
    part.dropped_[i] = !index[at].size();
    if (index[at].size()) part.shape_.dims.push_back(size);
  }
  return part;
}

namespace {

std::vector<Val> StartsOf(const Ref& ref) {
  std::vector<Val> starts;
  for (const Arg& start : ref.starts()) starts.push_back(AsIndex(start, "a position"));
  return starts;
}

// Fails unless the body may compute on the ref's content.
void CheckAccess(const Ref& ref, std::string_view verb, Loc loc) {
  const RefDef& def = ref.def();
  if (def.space != MemorySpace::kVmem && def.space != MemorySpace::kSmem) {
    FailKernel(loc, fmt::format("{}: expected a ref in vmem or smem to {}, got one in {}{}",
                                def.name, verb, Name(def.space),
                                def.space == MemorySpace::kAny ? "; AsyncCopy it first" : ""));
  }
  if (def.space == MemorySpace::kSmem && !ref.dims().empty()) {
    FailKernel(loc,
               fmt::format("{}: expected a position along every dimension of an smem ref, got {}",
                           def.name, ToString(ref.shape())));
  }
  if (def.space == MemorySpace::kVmem && ref.dims().empty()) {
    FailKernel(loc,
               fmt::format("{}: expected a vector to {}, got a single element; use Ds(i, 1) or an "
                           "smem ref",
                           def.name, verb));
  }
}

}  // namespace

Val Ref::Load(const LoadOptions& options, Loc loc) const {
  CheckAccess(*this, "load", loc);
  const Val whole = Apply(kLoad, StartsOf(*this), {{"ref", root_}, {"sizes", sizes_}}, loc);
  if (def_->space == MemorySpace::kSmem) return whole;
  const Val value = Reshape(whole, dims(), loc);
  return options.mask.defined() ? Select(options.mask, {value, loc}, {options.other, loc}) : value;
}

void Ref::Store(Arg value, const StoreOptions& options) const {
  const Loc loc = value.loc();
  CheckAccess(*this, "store", loc);
  if (def_->role == RefDef::Role::kInput || def_->role == RefDef::Role::kPrefetch) {
    FailKernel(loc,
               fmt::format("{}: expected an output or scratch to store, got an input", def_->name));
  }
  Val content = value.number() ? pallas::Full(shape_, *value.number(), loc) : value.val();
  if (!content.defined() || content.shape() != shape_) {
    const bool same_dims = content.defined() && content.dims() == dims();
    FailKernel(
        loc, fmt::format("{}: expected a value {} to store, got {}{}", def_->name, ToString(shape_),
                         content.defined() ? ToString(content.shape()) : "no value",
                         same_dims ? "; Convert it first" : ""));
  }
  std::vector<Val> inputs;
  const bool masked = options.mask.defined();
  if (!dims().empty()) content = Reshape(content, sizes_, loc);
  inputs.push_back(content);
  for (const Val& start : StartsOf(*this)) inputs.push_back(start);
  if (masked) {
    inputs.push_back(Reshape(BroadcastTo(options.mask, dims(), loc), sizes_, loc));
  }
  AddInstr(kStore, std::move(inputs), {{"ref", root_}, {"sizes", sizes_}, {"masked", masked}}, loc);
}

AsyncCopy::AsyncCopy(Ref source, Ref target, Ref semaphore, Loc loc)
    : source_(std::move(source)), target_(std::move(target)), semaphore_(std::move(semaphore)) {
  if (source_.shape() != target_.shape()) {
    FailKernel(loc, fmt::format("async_copy: expected refs of one shape, got {} {} and {} {}",
                                source_.def().name, ToString(source_.shape()), target_.def().name,
                                ToString(target_.shape())));
  }
  if (semaphore_.def().space != MemorySpace::kSemaphore || !semaphore_.dims().empty()) {
    FailKernel(loc, fmt::format("async_copy: expected a single semaphore, got {} {} in {}",
                                semaphore_.def().name, ToString(semaphore_.dims()),
                                Name(semaphore_.def().space)));
  }
  const RefDef::Role role = target_.def().role;
  if (role == RefDef::Role::kInput || role == RefDef::Role::kPrefetch) {
    FailKernel(loc, fmt::format("async_copy: expected an output or scratch as target, got {}",
                                target_.def().name));
  }
}

namespace {

void AddTransfer(const KernelOp& op, const Ref& source, const Ref& target, const Ref& semaphore,
                 Loc loc) {
  std::vector<Val> inputs = StartsOf(source);
  for (const Ref* ref : {&target, &semaphore}) {
    const std::vector<Val> starts = StartsOf(*ref);
    inputs.insert(inputs.end(), starts.begin(), starts.end());
  }
  AddInstr(op, std::move(inputs),
           {{"source", source.root()},
            {"source_sizes", source.sizes()},
            {"target", target.root()},
            {"target_sizes", target.sizes()},
            {"semaphore", semaphore.root()},
            {"semaphore_sizes", semaphore.sizes()},
            {"dims", source.dims()}},
           loc);
}

}  // namespace

void AsyncCopy::Start(Loc loc) const { AddTransfer(kDmaStart, source_, target_, semaphore_, loc); }
void AsyncCopy::Wait(Loc loc) const { AddTransfer(kDmaWait, source_, target_, semaphore_, loc); }

std::vector<const KernelOp*> MemoryOps() { return {&kLoad, &kStore, &kDmaStart, &kDmaWait}; }

}  // namespace sophia::pallas
