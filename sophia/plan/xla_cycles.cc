#include "sophia/plan/xla_cycles.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "sophia/base/proto_reader.h"

namespace sophia::plan {
namespace {

// Field numbers of https://github.com/openxla/xla/blob/main/xla/service/hlo.proto and
// xla_data.proto.
constexpr int kModuleOfModuleWithConfig = 1;
constexpr int kModuleComputations = 3;
constexpr int kModuleEntryId = 6;
constexpr int kComputationInstructions = 2;
constexpr int kComputationId = 5;
constexpr int kInstructionOpcode = 2;
constexpr int kInstructionLiteral = 8;
constexpr int kInstructionCalledIds = 38;
constexpr int kInstructionBackendConfig = 43;
constexpr int kLiteralS32s = 4;

struct Instruction {
  std::string_view opcode;
  std::string_view config;
  std::optional<int64_t> constant;  // of an s32 scalar
  std::vector<uint64_t> called;
};
using Computations = std::map<uint64_t, std::vector<Instruction>>;

std::optional<int64_t> ScalarIn(std::string_view literal) {
  ProtoReader reader(literal);
  while (const auto field = reader.Next()) {
    if (field->number != kLiteralS32s) continue;
    const std::vector<uint64_t> values = ProtoReader::Varints(*field);
    if (values.size() == 1) return static_cast<int64_t>(values[0]);
  }
  return std::nullopt;
}

Instruction ReadInstruction(std::string_view bytes) {
  Instruction instruction;
  ProtoReader reader(bytes);
  while (const auto field = reader.Next()) {
    switch (field->number) {
      case kInstructionOpcode:
        instruction.opcode = field->bytes;
        break;
      case kInstructionLiteral:
        instruction.constant = ScalarIn(field->bytes);
        break;
      case kInstructionBackendConfig:
        instruction.config = field->bytes;
        break;
      case kInstructionCalledIds:
        std::ranges::copy(ProtoReader::Varints(*field), std::back_inserter(instruction.called));
        break;
      default:
        break;
    }
  }
  return instruction;
}

void AddComputation(std::string_view bytes, Computations& computations) {
  std::vector<Instruction> instructions;
  uint64_t id = 0;
  ProtoReader reader(bytes);
  while (const auto field = reader.Next()) {
    if (field->number == kComputationId) id = field->value;
    if (field->number == kComputationInstructions)
      instructions.push_back(ReadInstruction(field->bytes));
  }
  computations[id] = std::move(instructions);
}

double CyclesIn(std::string_view config) {
  constexpr std::string_view kKey = "\"estimated_cycles\":\"";
  const size_t at = config.find(kKey);
  if (at == std::string_view::npos) return 0;
  int64_t cycles = 0;
  std::from_chars(config.data() + at + kKey.size(), config.data() + config.size(), cycles);
  return static_cast<double>(cycles);
}

class Module {
 public:
  explicit Module(std::string_view bytes) {
    ProtoReader reader(bytes);
    while (const auto field = reader.Next()) {
      if (field->number == kModuleEntryId) entry_ = field->value;
      if (field->number == kModuleComputations) AddComputation(field->bytes, computations_);
    }
  }

  double Cycles() const { return CyclesOf(entry_); }

 private:
  const std::vector<Instruction>& Find(uint64_t id) const {
    const auto found = computations_.find(id);
    if (found == computations_.end()) Fail("HLO", "expected a computation {}, got none", id);
    return found->second;
  }

  double CyclesOf(uint64_t id) const {
    double total = 0;
    for (const Instruction& instruction : Find(id)) total += CyclesOf(instruction);
    return total;
  }

  double CyclesOf(const Instruction& instruction) const {
    const std::vector<uint64_t>& called = instruction.called;
    if (instruction.opcode == "while" && called.size() == 2)
      return TripsOf(called[1]) * CyclesOf(called[0]);
    const double own = CyclesIn(instruction.config);
    if (called.empty() || (instruction.opcode != "call" && instruction.opcode != "conditional"))
      return own;
    double least = CyclesOf(called[0]);
    for (const uint64_t id : called) least = std::min(least, CyclesOf(id));
    return own + least;
  }

  // The engine's loops count from 0 by 1 to the constant that their condition compares with.
  double TripsOf(uint64_t condition) const {
    double trips = 1;
    for (const Instruction& instruction : Find(condition)) {
      if (instruction.constant) trips = static_cast<double>(*instruction.constant);
    }
    return trips;
  }

  Computations computations_;
  uint64_t entry_ = 0;
};

}  // namespace

double EstimatedCycles(const pjrt::OptimizedProgram& program) {
  if (program.format == "hlo") return Module(program.code).Cycles();
  if (program.format != "hlo_with_config") return 0;
  ProtoReader reader(program.code);
  while (const auto field = reader.Next()) {
    if (field->number == kModuleOfModuleWithConfig) return Module(field->bytes).Cycles();
  }
  return 0;
}

}  // namespace sophia::plan
