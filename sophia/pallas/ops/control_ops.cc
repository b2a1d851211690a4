// Kernel ops with blocks: branches and loops; and the grid.
#include "sophia/graph/ops/control_ops.h"

#include "sophia/graph/ops/creation.h"
#include "sophia/pallas/ops/op_util.h"

namespace sophia::pallas {
namespace {

using Blocks = std::vector<std::unique_ptr<Block>>;

std::vector<Shape> ShapesOf(const std::vector<Val>& values) {
  std::vector<Shape> shapes;
  for (const Val& value : values) shapes.push_back(value.shape());
  return shapes;
}

std::string Names(const std::vector<Shape>& shapes) {
  std::string text;
  for (const Shape& shape : shapes) text += (text.empty() ? "" : ", ") + ToString(shape);
  return "(" + text + ")";
}

std::vector<MosaicWriter::Operand> Operands(const Instr& instr, MosaicWriter& writer) {
  std::vector<MosaicWriter::Operand> operands;
  for (const Val& input : instr.inputs) operands.push_back(writer.Get(input));
  return operands;
}

bool IsFlag(const Val& val) { return val.shape() == Shape{DType::kBool, {}}; }

std::vector<Tensor> Head(const std::vector<Tensor>& tensors, size_t count) {
  return {tensors.begin(), tensors.begin() + static_cast<int64_t>(count)};
}

void Append(std::vector<Tensor>& list, const std::vector<Tensor>& more) {
  list.insert(list.end(), more.begin(), more.end());
}

std::vector<int64_t> Effects(const Instr& instr, Interpreter& in) {
  std::vector<int64_t> refs;
  for (const auto& block : instr.blocks) {
    for (const int64_t ref : in.Effects(*block)) {
      if (std::find(refs.begin(), refs.end(), ref) == refs.end()) refs.push_back(ref);
    }
  }
  return refs;
}

std::vector<Tensor> InterpretIf(const Instr& instr, Interpreter& in) {
  const std::vector<int64_t> refs = Effects(instr, in);
  const std::vector<Tensor> before = in.Save(refs);
  const auto branch = [&](const Block& block) {
    return [&] {
      in.Restore(refs, before);
      std::vector<Tensor> results = in.Run(block, {});
      Append(results, in.Save(refs));
      return results;
    };
  };
  const size_t count = instr.results.size();
  if (count + refs.size() == 0) return {};
  const std::vector<Tensor> results =
      sophia::Cond(in.In(instr, 0), branch(*instr.blocks[0]), branch(*instr.blocks[1]), instr.loc);
  in.Restore(refs, std::span(results).subspan(count));
  return Head(results, count);
}

constinit const KernelOp kIf = Op({
    .name = "if",
    .print =
        [](const Instr& instr, MosaicWriter& writer) {
          writer.EmitWithBlocks(instr, "scf.if", Operands(instr, writer));
        },
    .type = [](const Instr& instr) -> std::vector<Shape> {
      if (!IsFlag(instr.inputs[0])) {
        FailIn(instr, "expected a bool scalar as condition, got {}",
               ToString(instr.inputs[0].shape()));
      }
      std::vector<Shape> results = ShapesOf(instr.blocks[0]->results);
      if (ShapesOf(instr.blocks[1]->results) != results) {
        FailIn(instr, "expected branches of equal results, got {} and {}", Names(results),
               Names(ShapesOf(instr.blocks[1]->results)));
      }
      return results;
    },
    .interpret = InterpretIf,
});

std::vector<Shape> CarryType(const Instr& instr, const std::vector<Shape>& carry,
                             const Block& body) {
  if (ShapesOf(body.results) != carry) {
    FailIn(instr, "expected a body that returns the carry {}, got {}", Names(carry),
           Names(ShapesOf(body.results)));
  }
  return carry;
}

// State of the graph's loop: the counter, the carry, the refs that the body writes.
std::vector<Tensor> InterpretFor(const Instr& instr, Interpreter& in) {
  const std::vector<int64_t> refs = Effects(instr, in);
  const size_t carries = instr.results.size();
  std::vector<Tensor> init = {in.In(instr, 0)};
  for (size_t i = 0; i < carries; ++i) init.push_back(in.In(instr, i + 2));
  Append(init, in.Save(refs));
  const Tensor limit = in.In(instr, 1);
  const auto body = [&](std::span<const Tensor> state) {
    in.Restore(refs, state.subspan(carries + 1));
    const std::vector<Tensor> results = in.Run(*instr.blocks[0], state.first(carries + 1));
    std::vector<Tensor> next = {state[0] + 1.0};
    Append(next, results);
    Append(next, in.Save(refs));
    return next;
  };
  const std::vector<Tensor> last =
      sophia::While([&](std::span<const Tensor> state) { return sophia::Lt(state[0], limit); },
                    body, init, instr.loc);
  in.Restore(refs, std::span(last).subspan(carries + 1));
  return {last.begin() + 1, last.begin() + 1 + static_cast<int64_t>(carries)};
}

constinit const KernelOp kFor = Op({
    .name = "for",
    .print =
        [](const Instr& instr, MosaicWriter& writer) {
          std::vector<MosaicWriter::Operand> operands = Operands(instr, writer);
          operands.insert(operands.begin() + 2, writer.Constant("1", "i32"));
          writer.EmitWithBlocks(instr, "scf.for", operands);
        },
    .type = [](const Instr& instr) -> std::vector<Shape> {
      const std::vector<Val> carry(instr.inputs.begin() + 2, instr.inputs.end());
      return CarryType(instr, ShapesOf(carry), *instr.blocks[0]);
    },
    .interpret = InterpretFor,
});

std::vector<Tensor> InterpretWhile(const Instr& instr, Interpreter& in) {
  const std::vector<int64_t> refs = Effects(instr, in);
  const size_t carries = instr.results.size();
  std::vector<Tensor> init;
  for (const Val& input : instr.inputs) init.push_back(in.Get(input));
  Append(init, in.Save(refs));
  const auto condition = [&](std::span<const Tensor> state) {
    in.Restore(refs, state.subspan(carries));
    return in.Run(*instr.blocks[0], state.first(carries))[0];
  };
  const auto body = [&](std::span<const Tensor> state) {
    in.Restore(refs, state.subspan(carries));
    std::vector<Tensor> next = in.Run(*instr.blocks[1], state.first(carries));
    Append(next, in.Save(refs));
    return next;
  };
  const std::vector<Tensor> last = sophia::While(condition, body, init, instr.loc);
  in.Restore(refs, std::span(last).subspan(carries));
  return Head(last, carries);
}

// blocks: the condition (one bool result), the body.
constinit const KernelOp kWhileLoop = Op({
    .name = "while",
    .print =
        [](const Instr& instr, MosaicWriter& writer) {
          writer.EmitWithBlocks(instr, "scf.while", Operands(instr, writer));
        },
    .type = [](const Instr& instr) -> std::vector<Shape> {
      const Block& condition = *instr.blocks[0];
      if (condition.results.size() != 1 || !IsFlag(condition.results[0])) {
        FailIn(instr, "expected a condition that returns a bool scalar, got {}",
               Names(ShapesOf(condition.results)));
      }
      if (!WrittenRefs(condition).empty() || DrawsRandomBits(condition)) {
        FailIn(instr,
               "expected a condition that writes no ref and draws no random bits, got one "
               "that does");
      }
      return CarryType(instr, ShapesOf(instr.inputs), *instr.blocks[1]);
    },
    .interpret = InterpretWhile,
});

}  // namespace

Val ProgramId(int64_t axis, Loc loc) {
  const Block& body = Tracer::Current().kernel().body;
  const auto rank = static_cast<int64_t>(body.parameters.size());
  return {body.parameters[static_cast<size_t>(CheckedAxis(axis, rank, "program_id", loc))].get(),
          0};
}

int64_t NumPrograms(int64_t axis, Loc loc) {
  const Dims& grid = Tracer::Current().kernel().spec.grid;
  return grid[static_cast<size_t>(
      CheckedAxis(axis, static_cast<int64_t>(grid.size()), "num_programs", loc))];
}

Values Cond(const Val& condition, const std::function<Values()>& if_true,
            const std::function<Values()>& if_false, Loc loc) {
  Tracer& tracer = Tracer::Current();
  Blocks blocks;
  for (const auto* branch : {&if_true, &if_false}) {
    blocks.push_back(tracer.Trace({}, loc, [&](const Values& /*none*/) { return (*branch)(); }));
  }
  return ResultsOf(AddInstr(kIf, {condition}, {}, loc, std::move(blocks)));
}

void When(const Val& condition, const Action& body, const Action& otherwise, Loc loc) {
  const auto values = [](const Action& action) {
    return [&action] {
      if (action != nullptr) action();
      return Values{};
    };
  };
  Cond(condition, values(body), values(otherwise), loc);
}

void When(const Val& condition, const Action& body, Loc loc) { When(condition, body, {}, loc); }

Values For(Arg lo, Arg hi, const Values& init, const LoopBody& body, Loc loc) {
  Values inputs = {AsIndex(lo, "a lower bound"), AsIndex(hi, "an upper bound")};
  inputs.insert(inputs.end(), init.begin(), init.end());
  std::vector<Shape> parameters = ShapesOf(init);
  parameters.insert(parameters.begin(), Shape{DType::kS32, {}});
  Blocks blocks;
  blocks.push_back(Tracer::Current().Trace(parameters, loc, [&](const Values& values) {
    return body(values[0], Values(values.begin() + 1, values.end()));
  }));
  return ResultsOf(AddInstr(kFor, std::move(inputs), {}, loc, std::move(blocks)));
}

void For(Arg lo, Arg hi, const std::function<void(const Val& i)>& body, Loc loc) {
  For(
      lo, hi, {},
      [&](const Val& i, const Values& /*carry*/) {
        body(i);
        return Values{};
      },
      loc);
}

Values While(const Values& init, const std::function<Val(const Values&)>& condition,
             const std::function<Values(const Values&)>& body, Loc loc) {
  Tracer& tracer = Tracer::Current();
  const std::vector<Shape> shapes = ShapesOf(init);
  Blocks blocks;
  blocks.push_back(
      tracer.Trace(shapes, loc, [&](const Values& values) { return Values{condition(values)}; }));
  blocks.push_back(tracer.Trace(shapes, loc, body));
  return ResultsOf(AddInstr(kWhileLoop, init, {}, loc, std::move(blocks)));
}

std::vector<const KernelOp*> ControlOps() { return {&kIf, &kFor, &kWhileLoop}; }

}  // namespace sophia::pallas
