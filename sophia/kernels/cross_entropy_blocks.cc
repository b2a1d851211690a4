#include "sophia/kernels/cross_entropy_blocks.h"

#include "sophia/base/error.h"
#include "sophia/base/rounding.h"

namespace sophia::kernels::cross_entropy {

using pallas::BlockIndex;
using pallas::GridIndex;
using pallas::Val;
using enum pallas::DimensionSemantics;

namespace {

// Larger products of one instruction only make code longer.
constexpr int64_t kMaxPart = 512;
constexpr int64_t kMaxWhole = 1024;

// The largest part of `size` in whole lanes, or all of it.
int64_t PartOf(int64_t size) {
  if (size <= kMaxWhole || size % kLanes != 0) return size;
  int64_t part = kMaxPart;
  while (size % part != 0) part -= kLanes;
  return part;
}

bool IsHead(const Tensor& head, DType hidden) {
  return head.rank() == 2 && (head.dtype() == hidden || head.dtype() == DType::kS8);
}

}  // namespace

Problem ProblemFor(const Tensor& hidden, const Tensor& head, const Tensor& labels,
                   const KernelTarget& target, const LinearCrossEntropyOptions& options) {
  const Tensor& scale = options.head_scale;
  const DType dtype = hidden.dtype();
  // Finite differences of the reference need f64.
  const bool takes = dtype == DType::kF32 || dtype == DType::kBF16 ||
                     (dtype == DType::kF64 && target.mode == pallas::Mode::kReference);
  if (hidden.rank() != 2 || !takes) {
    Fail("linear_cross_entropy", "expected hidden states f32 or bf16 [N, D], got {}",
         ToString(hidden.shape()));
  }
  if (!IsHead(head, dtype) || head.dim(1) != hidden.dim(1)) {
    Fail("linear_cross_entropy", "expected a head [V, {}] of {} or s8, got {}", hidden.dim(1),
         Name(dtype), ToString(head.shape()));
  }
  if (labels.shape() != Shape{DType::kS32, {hidden.dim(0)}}) {
    Fail("linear_cross_entropy", "expected labels s32 [{}], got {}", hidden.dim(0),
         ToString(labels.shape()));
  }
  const bool is_s8 = head.dtype() == DType::kS8;
  if (is_s8 != scale.defined() || (is_s8 && scale.shape() != Shape{DType::kF32, {head.dim(0)}})) {
    Fail("linear_cross_entropy", "expected {} with a head of {}, got {}",
         is_s8 ? fmt::format("scales f32 [{}]", head.dim(0)) : "no scales", Name(head.dtype()),
         scale.defined() ? ToString(scale.shape()) : "none");
  }
  if (options.chunk < 1 || options.soft_cap < 0) {
    Fail("linear_cross_entropy",
         "expected a chunk of at least 1 and a soft cap of at least 0, got {} and {}",
         options.chunk, options.soft_cap);
  }
  const bool narrow = !target.chip || pallas::Info(*target.chip).bf16_dot;
  return {.tokens = hidden.dim(0),
          .size = hidden.dim(1),
          .vocab = head.dim(0),
          .padded = RoundUp(hidden.dim(0), kLanes),
          .hidden = dtype,
          .head = head.dtype(),
          .operands = narrow ? dtype : DType::kF32,
          .has_scale = is_s8,
          .soft_cap = options.soft_cap};
}

pallas::BlockSpec RowSpec(const CrossEntropyBlocks& blocks) {
  return {.block = {1, blocks.tokens}, .index_map = [](const GridIndex& i) {
            return BlockIndex{0, i[0]};
          }};
}

pallas::BlockSpec TokenSpec(const Problem& problem, const CrossEntropyBlocks& blocks) {
  // Changes once in a walk over the head.
  return {.block = {blocks.tokens, problem.size},
          .index_map =
              [](const GridIndex& i) {
                return BlockIndex{i[0], 0};
              },
          .single_buffer = true};
}

pallas::KernelSpec SpecFor(Pass pass, const Problem& problem, const CrossEntropyBlocks& blocks,
                           std::optional<pallas::Chip> chip, size_t rows) {
  const int64_t token_blocks = CeilDiv(problem.padded, blocks.tokens);
  pallas::KernelSpec spec{
      .name = pass == Pass::kForward ? "linear_cross_entropy" : "linear_cross_entropy_dh",
      .grid = {token_blocks, CeilDiv(problem.vocab, blocks.vocab)},
      .dimension_semantics = {kParallel, kArbitrary},
      .in_specs = {TokenSpec(problem, blocks),
                   {.block = {blocks.vocab, problem.size}, .index_map = [](const GridIndex& i) {
                      return BlockIndex{i[1], 0};
                    }}}};
  spec.in_specs.insert(spec.in_specs.end(), rows, RowSpec(blocks));
  if (problem.has_scale) {
    spec.in_specs.push_back({.block = {1, blocks.vocab}, .index_map = [](const GridIndex& i) {
                               return BlockIndex{0, i[1]};
                             }});
  }
  const int64_t logits = problem.padded * problem.vocab;
  const int64_t products = pass == Pass::kForward ? 1 : 2;
  spec.cost_estimate = pallas::CostEstimate{
      .flops = 2 * products * logits * problem.size,
      .transcendentals = logits,
      .bytes_accessed = token_blocks * ByteSize(problem.head, problem.vocab * problem.size) +
                        products * ByteSize(problem.hidden, problem.padded * problem.size)};
  spec.vmem_limit_bytes = VmemLimit(pass, problem, blocks, chip);
  return spec;
}

Val LanesOf(const Val& row) {
  return pallas::Transpose(pallas::BroadcastTo(row, {kLanes, row.dim(1)}));
}

Val ColumnIn(const pallas::Ref& lanes) { return pallas::SliceAxis(lanes.Load(), 1, 0, 1); }

void ForParts(int64_t size, const std::function<void(const pallas::Index& lanes)>& body) {
  const int64_t part = PartOf(size);
  if (part == size) return body(pallas::All{});
  pallas::For(0, size / part, [&](const Val& i) { body(pallas::Ds(i * part, part)); });
}

Val Operand(const Problem& problem, const pallas::Ref& part) {
  return pallas::Convert(part.Load(), problem.operands);
}

Logits LogitsOf(const Problem& problem, const pallas::KernelRefs& refs,
                const pallas::Ref& scratch) {
  scratch.Store(0.0);
  ForParts(problem.size, [&](const pallas::Index& lanes) {
    scratch.Store(pallas::Dot(Operand(problem, refs.in[0].At({pallas::All{}, lanes})),
                              Operand(problem, refs.in[1].At({pallas::All{}, lanes})),
                              {.transpose_rhs = true, .acc = scratch.Load()}));
  });
  Logits logits{.value = scratch.Load()};
  if (problem.has_scale) {
    logits.slope = refs.in.back().Load();
    logits.value = logits.value * logits.slope;
  }
  if (problem.soft_cap > 0) {
    const Val capped = pallas::Tanh(logits.value / problem.soft_cap);
    const Val slope = 1.0 - capped * capped;
    logits.slope = logits.slope.defined() ? logits.slope * slope : slope;
    logits.value = capped * problem.soft_cap;
  }
  return logits;
}

}  // namespace sophia::kernels::cross_entropy
