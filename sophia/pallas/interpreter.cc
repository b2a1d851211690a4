#include "sophia/pallas/interpreter.h"

#include <limits>

#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/pallas/trace.h"

namespace sophia::pallas {
namespace {

std::vector<Tensor> StartsOf(const Interpreter& in, const Part& part) {
  std::vector<Tensor> starts;
  for (const Val& start : part.starts) starts.push_back(in.Get(start));
  return starts;
}

std::vector<bool> DynamicOf(const Part& part) {
  std::vector<bool> dynamic;
  for (const Val& start : part.starts) dynamic.push_back(!IsConstant(start));
  return dynamic;
}

// Whether the part lies inside, as a bool scalar; undefined when it always does.
Tensor IsInside(const Tensor& x, const std::vector<Tensor>& starts,
                const std::vector<bool>& dynamic, const Dims& sizes) {
  Tensor inside;
  for (size_t i = 0; i < starts.size(); ++i) {
    if (!dynamic[i]) continue;
    const auto last = static_cast<double>(x.dims()[i] - sizes[i]);
    const Tensor fits = sophia::And(sophia::Ge(starts[i], 0.0), sophia::Le(starts[i], last));
    inside = inside.defined() ? sophia::And(inside, fits) : fits;
  }
  return inside;
}

}  // namespace

double Garbage(DType dtype) {
  if (IsFloat(dtype)) return std::numeric_limits<double>::quiet_NaN();
  return Info(dtype).bits == 4 ? -3 : 77;
}

Tensor GarbageTensor(const Shape& shape, Loc loc) {
  const double value = Garbage(shape.dtype);
  if (Info(shape.dtype).bits >= 8) return sophia::Full(shape, value, loc);
  return sophia::Convert(sophia::Full({DType::kS32, shape.dims}, value, loc), shape.dtype, loc);
}

const Tensor& Interpreter::Get(const Val& val) const {
  const auto it = values_.find(val);
  SOPHIA_CHECK(it != values_.end(), "a value of {} is used before it is computed",
               val.instr()->op->name);
  return it->second;
}

std::vector<int64_t> Interpreter::Effects(const Block& block) const {
  std::vector<int64_t> refs = WrittenRefs(block);
  if (DrawsRandomBits(block)) refs.push_back(random_state());
  return refs;
}

std::vector<Tensor> Interpreter::Save(std::span<const int64_t> refs) const {
  std::vector<Tensor> tensors;
  for (const int64_t ref : refs) tensors.push_back(state_[static_cast<size_t>(ref)]);
  return tensors;
}

void Interpreter::Restore(std::span<const int64_t> refs, std::span<const Tensor> tensors) {
  for (size_t i = 0; i < refs.size(); ++i) State(refs[i]) = tensors[i];
}

std::vector<Tensor> Interpreter::Run(const Block& block, std::span<const Tensor> parameters) {
  for (size_t i = 0; i < block.parameters.size(); ++i) {
    Bind({block.parameters[i].get(), 0}, parameters[i]);
  }
  for (const auto& instr : block.instrs) {
    const std::vector<Tensor> results = instr->op->interpret(*instr, *this);
    for (size_t i = 0; i < results.size(); ++i) {
      SOPHIA_CHECK(results[i].shape() == instr->results[i], "{} gives {}, interpreted {}",
                   instr->op->name, ToString(instr->results[i]), ToString(results[i].shape()));
      Bind({instr.get(), static_cast<int>(i)}, results[i]);
    }
  }
  std::vector<Tensor> results;
  for (const Val& result : block.results) results.push_back(Get(result));
  return results;
}

Tensor Interpreter::Read(const Tensor& x, const std::vector<Tensor>& starts,
                         const std::vector<bool>& dynamic, const Dims& sizes, Loc loc) {
  if (sizes == x.dims()) return x;
  const Tensor part = DynamicSlice(x, starts, sizes, loc);
  const Tensor inside = IsInside(x, starts, dynamic, sizes);
  if (!inside.defined()) return part;
  return sophia::Select(inside, {part, loc}, {GarbageTensor(part.shape(), loc), loc});
}

Tensor Interpreter::Write(const Tensor& x, const Tensor& value, const std::vector<Tensor>& starts,
                          const std::vector<bool>& dynamic, Loc loc) {
  if (value.dims() == x.dims()) return value;
  const Tensor inside = IsInside(x, starts, dynamic, value.dims());
  if (!inside.defined()) return DynamicUpdateSlice(x, value, starts, loc);
  const Tensor old = DynamicSlice(x, starts, value.dims(), loc);
  return DynamicUpdateSlice(x, sophia::Select(inside, {value, loc}, {old, loc}), starts, loc);
}

Tensor Interpreter::ReadPart(const Part& part, Loc loc) {
  return Read(State(part.ref), StartsOf(*this, part), DynamicOf(part), part.sizes, loc);
}

void Interpreter::WritePart(const Part& part, const Tensor& value, Loc loc) {
  State(part.ref) = Write(State(part.ref), value, StartsOf(*this, part), DynamicOf(part), loc);
}

}  // namespace sophia::pallas
