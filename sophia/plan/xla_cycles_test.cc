#include "sophia/plan/xla_cycles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sophia/base/error.h"
#include "sophia/base/proto_writer.h"

namespace sophia::plan {
namespace {

// Field numbers of XLA's hlo.proto, as in xla_cycles.cc.
struct Op {
  std::string opcode;
  int64_t cycles = 0;
  std::vector<uint64_t> called;
  std::optional<uint64_t> constant;
};

ProtoWriter Instruction(const Op& op) {
  ProtoWriter out;
  out.Bytes(1, "name");
  out.Bytes(2, op.opcode);
  if (op.constant) {
    std::string packed(1, static_cast<char>(*op.constant));
    ProtoWriter literal;
    literal.Bytes(4, packed);
    out.Message(8, literal);
  }
  for (const uint64_t id : op.called) out.Varint(38, id);
  if (op.cycles > 0) {
    out.Bytes(43, R"({"window_config":{"estimated_cycles":")" + std::to_string(op.cycles) +
                      R"(","iteration_bounds":["8"]}})");
  }
  return out;
}

ProtoWriter Computation(uint64_t id, const std::vector<Op>& ops) {
  ProtoWriter out;
  for (const Op& op : ops) out.Message(2, Instruction(op));
  out.Varint(5, id);
  return out;
}

// A loop of six iterations, each with a call of the shorter of two branches.
std::string Module() {
  ProtoWriter out;
  out.Bytes(1, "jit_step");
  out.Message(3, Computation(2, {{"parameter"}, {"constant", 0, {}, 6}, {"compare"}}));
  out.Message(3, Computation(3, {{"fusion", 100, {9}}, {"conditional", 0, {4, 5}}}));
  out.Message(3, Computation(4, {{"copy", 7}}));
  out.Message(3, Computation(5, {{"call", 0, {6}}}));
  out.Message(3, Computation(6, {{"add", 20}, {"custom-call"}}));
  out.Message(3, Computation(1, {{"fusion", 1000}, {"while", 0, {3, 2}}, {"add", 5}}));
  out.Varint(6, 1);
  return out.bytes();
}

TEST(XlaCyclesTest, CountsLoopsAndTheShortestBranch) {
  EXPECT_EQ(EstimatedCycles({"hlo", Module()}), 1000 + 6 * (100 + 7) + 5);
}

TEST(XlaCyclesTest, ReadsModulesWithTheirConfig) {
  ProtoWriter with_config;
  with_config.Bytes(1, Module());
  with_config.Bytes(2, "config");
  EXPECT_EQ(EstimatedCycles({"hlo_with_config", with_config.bytes()}), 1647);
  EXPECT_EQ(EstimatedCycles({"mlir", "module {}"}), 0);
}

TEST(XlaCyclesTest, RefusesBrokenPrograms) {
  const std::string module = Module();
  EXPECT_THROW(EstimatedCycles({"hlo", module.substr(0, module.size() - 3)}), Error);
  ProtoWriter lost;
  lost.Message(3, Computation(1, {{"call", 0, {2}}}));
  lost.Varint(6, 1);
  EXPECT_THROW(EstimatedCycles({"hlo", lost.bytes()}), Error);
}

}  // namespace
}  // namespace sophia::plan
