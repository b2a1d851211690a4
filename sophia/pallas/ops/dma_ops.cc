// Copies between refs that go on while the body runs.
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/pallas/ops/op_util.h"
#include "sophia/pallas/ops/part.h"

namespace sophia::pallas {
namespace {

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

std::vector<const KernelOp*> DmaOps() { return {&kDmaStart, &kDmaWait}; }

}  // namespace sophia::pallas
