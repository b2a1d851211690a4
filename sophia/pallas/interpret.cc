#include "sophia/pallas/interpret.h"

#include "sophia/base/rounding.h"
#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/shape_ops.h"
#include "sophia/graph/ops/slice_ops.h"
#include "sophia/pallas/interpreter.h"

namespace sophia::pallas {
namespace {

// The loop over the grid. Its state: the step, then for each output its array, block and block
// index, then scratch and random state.
class GridLoop {
 public:
  GridLoop(const Kernel& kernel, const std::vector<Tensor>& inputs, Loc loc)
      : kernel_(kernel),
        interpreter_(kernel),
        loc_(loc),
        aliases_(kernel.spec.out_shapes.size(), -1) {
    for (const auto& [input, output] : kernel.spec.input_output_aliases) {
      aliases_[static_cast<size_t>(output)] = input;
    }
    for (size_t i = 0; i < inputs.size(); ++i) arrays_.push_back(Padded(inputs[i], i));
    for (size_t i = 0; i < kernel.refs.size(); ++i) {
      const RefDef& def = kernel.refs[i];
      const bool carried =
          def.role == RefDef::Role::kScratch && def.space != MemorySpace::kSemaphore;
      if (carried) carried_.push_back(static_cast<int64_t>(i));
    }
    carried_.push_back(interpreter_.random_state());
  }

  std::vector<Tensor> Run() {
    std::vector<Tensor> state = Init();
    if (kernel_.programs() == 1) {
      state = Step(state);
    } else {
      const auto programs = static_cast<double>(kernel_.programs());
      state = sophia::While(
          [&](std::span<const Tensor> values) { return sophia::Lt(values[0], programs); },
          [&](std::span<const Tensor> values) { return Step(values); }, state, loc_);
    }
    std::vector<Tensor> results;
    size_t next = 1;
    for (size_t i = 0; i < kernel_.spec.out_shapes.size(); ++i) {
      const Dims& dims = kernel_.spec.out_shapes[i].dims;
      results.push_back(sophia::Slice(state[next], Dims(dims.size(), 0), dims, {}, loc_));
      next += StateSize(i);
    }
    return results;
  }

 private:
  const Window* WindowOf(size_t ref) const { return kernel_.windows[ref].get(); }
  size_t OutputRef(size_t output) const { return kernel_.first_output() + output; }

  // Sizes in whole blocks; an aliased pair shares one array that has whole blocks of both.
  Dims PaddedDims(size_t ref) const {
    Dims dims = ref < kernel_.first_output()
                    ? kernel_.inputs[ref].dims
                    : kernel_.spec.out_shapes[ref - kernel_.first_output()].dims;
    const Window* window = WindowOf(ref);
    for (size_t i = 0; window != nullptr && i < dims.size(); ++i) {
      dims[i] = RoundUp(dims[i], window->block[i]);
    }
    return dims;
  }

  Tensor Padded(const Tensor& array, size_t ref) const {
    Dims dims = PaddedDims(ref);
    for (const auto& [input, output] : kernel_.spec.input_output_aliases) {
      if (static_cast<size_t>(input) != ref) continue;
      const Dims other = PaddedDims(OutputRef(static_cast<size_t>(output)));
      for (size_t i = 0; i < dims.size(); ++i) dims[i] = std::max(dims[i], other[i]);
    }
    if (dims == array.dims()) return array;
    const Tensor whole = GarbageTensor({array.dtype(), dims}, loc_);
    return DynamicUpdateSlice(whole, array,
                              std::vector(dims.size(), sophia::Scalar(DType::kS32, 0)), loc_);
  }

  // Array, block and the block's index; a whole output is its own block.
  size_t StateSize(size_t output) const {
    const Window* window = WindowOf(OutputRef(output));
    return window == nullptr ? 1 : 2 + window->block.size();
  }

  std::vector<Tensor> Init() {
    std::vector<Tensor> state = {sophia::Scalar(DType::kS32, 0, loc_)};
    for (size_t i = 0; i < kernel_.spec.out_shapes.size(); ++i) {
      const size_t ref = OutputRef(i);
      const Shape array{kernel_.spec.out_shapes[i].dtype, PaddedDims(ref)};
      state.push_back(aliases_[i] >= 0 ? arrays_[static_cast<size_t>(aliases_[i])]
                                       : GarbageTensor(array, loc_));
      const Window* window = WindowOf(ref);
      if (window == nullptr) continue;
      state.push_back(GarbageTensor(kernel_.refs[ref].shape, loc_));
      for (size_t axis = 0; axis < window->block.size(); ++axis) {
        state.push_back(sophia::Scalar(DType::kS32, -1, loc_));
      }
    }
    for (const int64_t ref : carried_) {
      state.push_back(ref == interpreter_.random_state()
                          ? sophia::Full({DType::kU64, {2}}, 0, loc_)
                          : GarbageTensor(kernel_.refs[static_cast<size_t>(ref)].shape, loc_));
    }
    return state;
  }

  std::vector<Tensor> ProgramIds(const Tensor& step) const {
    std::vector<Tensor> ids(kernel_.spec.grid.size());
    int64_t stride = 1;
    for (size_t i = ids.size(); i-- > 0;) {
      const auto size = static_cast<double>(kernel_.spec.grid[i]);
      ids[i] = sophia::Rem(sophia::Div(step, static_cast<double>(stride)), size);
      stride *= kernel_.spec.grid[i];
    }
    return ids;
  }

  // Element positions of a block.
  std::vector<Tensor> Starts(const Window& window, const std::vector<Tensor>& indices) const {
    std::vector<Tensor> starts;
    for (size_t i = 0; i < indices.size(); ++i) {
      starts.push_back(sophia::Mul(indices[i], static_cast<double>(window.block[i])));
    }
    return starts;
  }

  static std::vector<bool> Dynamic(const Window& window) {
    std::vector<bool> dynamic;
    for (const Val& index : window.index_map->results) dynamic.push_back(!IsConstant(index));
    return dynamic;
  }

  void LoadInputs(const std::vector<Tensor>& ids, const std::vector<Tensor>& arrays) {
    for (size_t i = 0; i < kernel_.inputs.size(); ++i) {
      const Window* window = WindowOf(i);
      Tensor& ref = interpreter_.State(static_cast<int64_t>(i));
      ref = arrays[i];
      if (window == nullptr) continue;
      const std::vector<Tensor> starts = Starts(*window, interpreter_.Run(*window->index_map, ids));
      const Tensor block =
          Interpreter::Read(arrays[i], starts, Dynamic(*window), window->block, loc_);
      ref = sophia::Reshape(block, kernel_.refs[i].shape.dims, loc_);
    }
  }

  // Puts the block that the program starts with into the ref: garbage where the block is new.
  void OpenOutput(size_t ref, std::span<const Tensor> state, const std::vector<Tensor>& indices) {
    Tensor changed;
    for (size_t axis = 0; axis < indices.size(); ++axis) {
      const Tensor differs = sophia::Ne(indices[axis], state[2 + axis]);
      changed = changed.defined() ? sophia::Or(changed, differs) : differs;
    }
    interpreter_.State(static_cast<int64_t>(ref)) =
        sophia::Select(changed, {GarbageTensor(state[1].shape(), loc_), loc_}, {state[1], loc_});
  }

  std::vector<Tensor> Step(std::span<const Tensor> state) {
    const std::vector<Tensor> ids = ProgramIds(state[0]);
    const size_t outputs = kernel_.spec.out_shapes.size();
    std::vector<Tensor> arrays = arrays_;
    std::vector<size_t> first(outputs);
    size_t next = 1;
    for (size_t i = 0; i < outputs; ++i) {
      first[i] = next;
      if (aliases_[i] >= 0) arrays[static_cast<size_t>(aliases_[i])] = state[next];
      next += StateSize(i);
    }
    interpreter_.Restore(carried_, state.subspan(next));
    LoadInputs(ids, arrays);
    std::vector<std::vector<Tensor>> indices(outputs);
    for (size_t i = 0; i < outputs; ++i) {
      const size_t ref = OutputRef(i);
      const Window* window = WindowOf(ref);
      if (window == nullptr) {
        interpreter_.State(static_cast<int64_t>(ref)) = state[first[i]];
        continue;
      }
      indices[i] = interpreter_.Run(*window->index_map, ids);
      OpenOutput(ref, state.subspan(first[i]), indices[i]);
    }
    interpreter_.Run(kernel_.body, ids);

    std::vector<Tensor> result = {state[0] + 1.0};
    for (size_t i = 0; i < outputs; ++i) {
      const auto ref = static_cast<int64_t>(OutputRef(i));
      const Tensor block = interpreter_.State(ref);
      const Window* window = WindowOf(OutputRef(i));
      if (window == nullptr) {
        result.push_back(block);
        continue;
      }
      const Tensor part = sophia::Reshape(block, window->block, loc_);
      result.push_back(Interpreter::Write(state[first[i]], part, Starts(*window, indices[i]),
                                          Dynamic(*window), loc_));
      result.push_back(block);
      result.insert(result.end(), indices[i].begin(), indices[i].end());
    }
    const std::vector<Tensor> carried = interpreter_.Save(carried_);
    result.insert(result.end(), carried.begin(), carried.end());
    return result;
  }

  const Kernel& kernel_;
  Interpreter interpreter_;
  Loc loc_;
  std::vector<int64_t> aliases_;  // the input of each output, or -1
  std::vector<Tensor> arrays_;    // inputs in whole blocks
  std::vector<int64_t> carried_;  // scratch and the random state
};

}  // namespace

std::vector<Tensor> Interpret(const Kernel& kernel, const std::vector<Tensor>& inputs, Loc loc) {
  return GridLoop(kernel, inputs, loc).Run();
}

}  // namespace sophia::pallas
