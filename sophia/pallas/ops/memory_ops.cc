// Refs, their loads and stores.
#include <fmt/ranges.h>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/pallas/ops/op_util.h"
#include "sophia/pallas/ops/part.h"

namespace sophia::pallas {
namespace {

Part LoadedPart(const Instr& instr) { return PartOf(instr, "ref", "sizes", 0); }
Part StoredPart(const Instr& instr) { return PartOf(instr, "ref", "sizes", 1); }

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

}  // namespace

constinit const KernelOp kLoad =
    Op({.name = "load", .print = PrintLoad, .type = LoadType, .interpret = InterpretLoad});

constinit const KernelOp kStore =
    Op({.name = "store", .print = PrintStore, .type = StoreType, .interpret = InterpretStore});

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

std::vector<const KernelOp*> MemoryOps() { return {&kLoad, &kStore}; }

}  // namespace sophia::pallas
