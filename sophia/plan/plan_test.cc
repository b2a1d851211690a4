// Parts of the planner that need no compiler.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <csignal>

#include "sophia/base/error.h"
#include "sophia/graph/ops/control_ops.h"
#include "sophia/graph/ops/creation.h"
#include "sophia/graph/ops/dot_ops.h"
#include "sophia/graph/ops/elementwise.h"
#include "sophia/graph/ops/reduce_ops.h"
#include "sophia/graph/ops/special_ops.h"
#include "sophia/models/kernel_choice.h"
#include "sophia/pallas/work_estimate.h"
#include "sophia/plan/child.h"
#include "sophia/plan/measure.h"
#include "sophia/plan/memory.h"
#include "sophia/plan/search.h"
#include "sophia/plan/target.h"
#include "sophia/plan/verdict.h"
#include "sophia/train/policy_order.h"
#include "sophia/train/setup.h"
#include "sophia/train/training_data.h"

namespace sophia::plan {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(ChildTest, GivesTheValueAndThePeak) {
  const ChildResult result = RunInChild(
      [] {
        const std::vector<char> memory(100'000'000, 1);
        return Json{{"last", memory.back()}};
      },
      "test");
  EXPECT_EQ(result.value["last"], 1);
  EXPECT_GT(result.peak_bytes, 100'000'000);
}

TEST(ChildTest, FaultsBecomeErrors) {
  EXPECT_THAT([] { RunInChild([]() -> Json { Fail("work", "expected luck, got none"); }, "test"); },
              ThrowsMessage<Error>(HasSubstr("[work] expected luck, got none")));
  EXPECT_THAT([] { RunInChild([]() -> Json { return raise(SIGKILL); }, "v5e:1x1"); },
              ThrowsMessage<Error>(
                  HasSubstr("[v5e:1x1] expected a compiler that ends, got signal 9 (Killed)")));
}

TEST(MeasureTest, ParsesTheCompilersSizes) {
  EXPECT_EQ(ParseBytes("512B"), 512);
  EXPECT_EQ(ParseBytes("566.69M"), 594217533);
  EXPECT_EQ(ParseBytes("1.50G"), 1610612736);
  EXPECT_THAT([] { ParseBytes("12"); }, ThrowsMessage<Error>(HasSubstr("got '12'")));
}

TEST(TargetTest, UnknownTopologiesListThoseThatExist) {
  for (const char* name : {"v5", "v5e", "v5e:", "v5e:3x3", "v5e:1x1x1", "v4:2x2", "gpu:1x1", ""}) {
    EXPECT_THAT([&] { FindTarget(name, std::nullopt); },
                ThrowsMessage<Error>(AllOf(HasSubstr("expected one of cpu, v2:1x1, v3:1x1"),
                                           HasSubstr("tpu7x:1x1x1"),
                                           HasSubstr(fmt::format("got '{}'", name)))))
        << name;
  }
  const Target target = FindTarget("v6e:2x4", std::nullopt);
  EXPECT_EQ(target.chip, pallas::Chip::kV6e);
  EXPECT_EQ(MemoryLimit(target), 33'546'042'880);
}

train::TrainOptions TinyOptions() {
  return {.model = SOPHIA_SOURCE_DIR "/tests/fixtures/llama/gqa",
          .dtype = DType::kF32,
          .lora = {.rank = 4},
          .batch = 3};
}

MemoryTable TinyTable(train::TrainOptions options) {
  const auto files = models::ModelFiles::OpenConfig(options.model);
  const auto model = train::BuildModel(options, files);
  const train::BatchShape shape = train::FullShape(16, train::BatchOptionsOf(options));
  return CountMemory(*model, train::TraceStep(*model, train::StepOptionsOf(options, shape)));
}

TEST(MemoryTest, CountsWhatAStepHolds) {
  const auto files = models::ModelFiles::OpenConfig(TinyOptions().model);
  const Json& config = files.config();
  const int64_t layers = config["num_hidden_layers"];
  const int64_t width = config["hidden_size"];
  train::TrainOptions options = TinyOptions();
  options.policy = train::MemoryPolicy::FromText("layers");
  const MemoryTable table = TinyTable(options);
  // AdamW keeps two moments of each adapter value.
  EXPECT_EQ(table.optimizer, 2 * table.adapters);
  const auto state = [](train::OptimizerKind kind) {
    train::TrainOptions other = TinyOptions();
    other.optimizer = kind;
    return TinyTable(other).optimizer;
  };
  EXPECT_EQ(state(train::OptimizerKind::kLion), table.adapters);
  EXPECT_EQ(state(train::OptimizerKind::kMuon), table.adapters);
  EXPECT_EQ(state(train::OptimizerKind::kSophiaG), 2 * table.adapters);
  EXPECT_LT(state(train::OptimizerKind::kAdafactor), table.adapters / 2);
  // ids, segments, places, positions and labels of 48 tokens, the step, the seed and the
  // schedule.
  EXPECT_EQ(table.batch, 5 * 48 * 4 + 4 + 8 + 12);
  // The input of each layer, and the loss's gradient and values.
  EXPECT_EQ(table.saved, layers * 48 * width * 4 + 48 * width * 4 + 48 * 4);

  const MemoryTable products = TinyTable(TinyOptions());
  EXPECT_GT(products.saved, 2 * table.saved);
  // Micro-batches run one after another: what one keeps is gone before the next.
  options.gradient_accumulation_steps = 4;
  const MemoryTable accumulated = TinyTable(options);
  EXPECT_EQ(accumulated.saved, table.saved);
  EXPECT_EQ(accumulated.batch, 4 * 5 * 48 * 4 + 4 + 8 + 12);
}

TEST(MemoryTest, OffloadedInputsLieOnTheHost) {
  train::TrainOptions options = TinyOptions();
  options.policy = train::MemoryPolicy::FromText("layers");
  const MemoryTable kept = TinyTable(options);
  EXPECT_EQ(kept.saved_on_host, 0);
  options.policy = train::MemoryPolicy::FromText("layers,offload");
  const MemoryTable offloaded = TinyTable(options);
  EXPECT_EQ(offloaded.saved + offloaded.saved_on_host, kept.saved);
  EXPECT_EQ(offloaded.saved_on_host, 2 * 48 * 48 * 4);  // layers · tokens · width · f32
}

// Searches with `need` and counts what it asks.
struct Search {
  std::optional<int64_t> longest;
  int calls = 0;
};
Search SearchFor(const std::function<double(double)>& need, int64_t limit,
                 const SearchRange& range) {
  Search search;
  search.longest = LongestThatFits(
      [&](int64_t length) {
        ++search.calls;
        return static_cast<int64_t>(need(static_cast<double>(length)));
      },
      limit, range);
  return search;
}

TEST(SearchTest, FindsTheLongest) {
  const SearchRange range{.unit = 128, .most = 16384};
  const std::vector<std::function<double(double)>> needs = {
      [](double n) { return 5e6 + 700 * n; }, [](double n) { return 5e6 + 0.1 * n * n; },
      [](double n) { return 5e6 + 1e5 * std::sqrt(n); },
      [](double n) { return n > 3000 ? 3e7 : 1e6; }, [](double n) { return n > 256 ? 3e7 : 1e6; }};
  for (size_t i = 0; i < needs.size(); ++i) {
    int64_t expected = 0;
    for (int64_t n = 128; n <= 16384; n += 128) {
      if (needs[i](static_cast<double>(n)) <= 1e7) expected = n;
    }
    const Search search = SearchFor(needs[i], 10'000'000, range);
    EXPECT_EQ(search.longest, expected) << i;
    EXPECT_LE(search.calls, 14) << i;
  }
  EXPECT_LE(SearchFor(needs[0], 10'000'000, range).calls, 4);
}

TEST(SearchTest, AllOrNothing) {
  const SearchRange range{.unit = 10, .most = 95};
  const auto need = [](double n) { return n; };
  EXPECT_EQ(SearchFor(need, 1000, range).longest, 90);
  EXPECT_EQ(SearchFor(need, 10, range).longest, 10);
  EXPECT_EQ(SearchFor(need, 9, range).longest, std::nullopt);
  EXPECT_EQ(SearchFor(need, 5, {.unit = 5, .most = 5}).longest, 5);
}

// The length that is found where programs take so much more than `need` says, and the tries.
Search Confirm(const std::function<int64_t(int64_t)>& taken, int64_t limit) {
  Search search;
  const auto need = [](int64_t length) { return 100 * length; };
  const auto lacks = [&](int64_t length) {
    ++search.calls;
    return taken(length) <= limit ? 0 : taken(length) - need(length);
  };
  search.longest = LongestConfirmed(need, lacks, limit, {.unit = 10, .most = 1000});
  return search;
}

TEST(SearchTest, GoesOnBelowWhatAWholeCompilationRefuses) {
  const Search at_once = Confirm([](int64_t length) { return 100 * length; }, 50'000);
  EXPECT_EQ(at_once.longest, 500);
  EXPECT_EQ(at_once.calls, 1);
  // What was lacking at 500 is taken off the limit: 44,990 bytes are enough.
  const Search evenly = Confirm([](int64_t length) { return 100 * length + 5010; }, 50'000);
  EXPECT_EQ(evenly.longest, 440);
  EXPECT_EQ(evenly.calls, 2);
  // By 2, 4 and 8 % of the limit where hardly anything was.
  const Search little =
      Confirm([](int64_t length) { return length > 440 ? 50'001 : 100 * length; }, 50'000);
  EXPECT_EQ(little.longest, 430);
  EXPECT_EQ(little.calls, 4);
  const Search never = Confirm([](int64_t) { return 60'000; }, 50'000);
  EXPECT_EQ(never.longest, std::nullopt);
  EXPECT_LE(never.calls, 6);
}

TEST(VerdictTest, SaysWhichMemoryIsShort) {
  const Verdict fits{.need = 12'000'000'000,
                     .offloaded = 10'000'000'000,
                     .limit = 16'000'000'000,
                     .host_limit = 11'000'000'000};
  EXPECT_TRUE(fits.fits());
  EXPECT_EQ(ToText(fits), "12 GB of 16 GB: fits, 4 GB to spare; 10 GB in the host's memory");
  Verdict of_host = fits;
  of_host.host_limit = 8'000'000'000;
  EXPECT_FALSE(of_host.fits());
  EXPECT_EQ(ToText(of_host), ToText(fits) + ", which is short by 2 GB");
  EXPECT_EQ(ToJson(of_host)["fits"], false);
  Verdict of_device = fits;
  of_device.limit = 11'500'000'000;
  EXPECT_FALSE(of_device.fits());
  EXPECT_THAT(ToText(of_device), HasSubstr("12 GB of 11.5 GB: does not fit, by 500 MB"));
}

TEST(EstimateTest, CountsProductsInLoops) {
  Graph graph;
  const Tensor x = graph.AddInput({DType::kBF16, {512, 1024}}, {});
  const Tensor w = graph.AddInput({DType::kBF16, {1024, 1024}}, {});
  const Tracing tracing(graph);
  const ScanBody body = [&](std::span<const Tensor> carry, std::span<const Tensor>) -> ScanStep {
    return {{MatMul(carry[0], w)}};
  };
  MatMul(x, w);  // no output needs it
  // The least that may be done.
  const Tensor either = Cond(
      Gt(Sum(x), 0.0), [&] { return std::vector{MatMul(MatMul(x, w), w)}; },
      [&] { return std::vector{x}; })[0];
  graph.AddOutput(either, {});
  graph.AddOutput(Scan(body, {x}, {}, {.length = 7}).carry[0], {});
  const pallas::ChipInfo& chip = pallas::Info(pallas::Chip::kV5e);
  const pallas::WorkEstimate work = pallas::EstimateWork(graph, chip);
  const double flops = 2.0 * 512 * 1024 * 1024;
  EXPECT_DOUBLE_EQ(work.flops, 7 * flops);
  EXPECT_DOUBLE_EQ(pallas::CountFlops(graph), 7 * flops);
  EXPECT_DOUBLE_EQ(work.seconds,
                   7 * std::max(flops / chip.bf16_flops,
                                2.0 * (2 * 512 * 1024 + 1024 * 1024) / chip.hbm_bandwidth));
}

TEST(EstimateTest, CountsTransfersInLoops) {
  Graph graph;
  const Tensor x = graph.AddInput({DType::kF32, {8, 1000}}, {});
  const Tracing tracing(graph);
  const ScanBody out = [](std::span<const Tensor>, std::span<const Tensor> slices) -> ScanStep {
    return {{}, {Place(slices[0], Placement::kPinnedHost)}};
  };
  const ScanBody back = [](std::span<const Tensor>, std::span<const Tensor> slices) -> ScanStep {
    return {{}, {Place(slices[0], Placement::kDevice)}};
  };
  const Tensor kept = Scan(out, {}, {x}).ys[0];
  graph.AddOutput(Scan(back, {}, {kept}).ys[0], {});
  const pallas::WorkEstimate work = pallas::EstimateWork(graph, pallas::Info(pallas::Chip::kV5e));
  EXPECT_EQ(work.to_host, 32'000);
  EXPECT_EQ(work.from_host, 32'000);
}

TEST(StepTimeTest, WaitsForWhatIsNotHidden) {
  const pallas::ChipInfo& chip = pallas::Info(pallas::Chip::kV5e);
  const pallas::WorkEstimate work{.to_host = 15e9, .from_host = 18e9};  // tables, too, come back
  EXPECT_DOUBLE_EQ(pallas::StepSeconds(5, work, chip, false), 5 + 1.2);
  EXPECT_DOUBLE_EQ(pallas::StepSeconds(5, work, chip, true), 5 + 0.2);
  EXPECT_DOUBLE_EQ(pallas::StepSeconds(2, work, chip, true), 1 + 1.5 + 0.2);
  EXPECT_DOUBLE_EQ(pallas::StepSeconds(0.4, work, chip, true), 1 + 1 + 0.2);
  // Two cores share a v3 chip's link.
  EXPECT_DOUBLE_EQ(pallas::StepSeconds(10, work, pallas::Info(pallas::Chip::kV3), true), 10 + 0.4);
}

// The policies that an 8B QLoRA step of 8,192 tokens tries on a chip, in their order.
std::vector<std::string> PoliciesOn(pallas::Chip chip) {
  const train::TrainOptions options{.model = SOPHIA_SOURCE_DIR "/examples/plan/llama-3.1-8b",
                                    .quant = "nf4",
                                    .lora = {.rank = 32},
                                    .batch = 1};
  const auto files = models::ModelFiles::OpenConfig(options.model);
  const auto model = train::BuildModel(options, files);
  const kernels::KernelTarget target = models::KernelsFor(chip, std::nullopt);
  model->policy->set_kernels(target);
  const train::BatchShape shape = train::FullShape(8192, train::BatchOptionsOf(options));
  std::vector<std::string> policies;
  for (const train::MemoryPolicy& policy :
       train::PoliciesByTime(*model, train::StepOptionsOf(options, shape, target), true)) {
    policies.push_back(policy.ToString());
  }
  return policies;
}

TEST(PolicyOrderTest, TheFastestFirst) {
  EXPECT_THAT(
      PoliciesOn(pallas::Chip::kV5e),
      ElementsAre("products", "layers", "layers,tile=2048", "layers,offload,prefetch,tile=2048",
                  "layers,offload,tile=2048", "layers,offload,tile=512", "layers,every=4,tile=2048",
                  "layers,offload,tile=512,kv_heads=1"));
  // Computing again is cheaper there than the bus.
  EXPECT_THAT(PoliciesOn(pallas::Chip::kTpu7x),
              ElementsAre("products", "layers", "layers,tile=2048", "layers,every=4,tile=2048",
                          "layers,offload,prefetch,tile=2048", "layers,offload,tile=2048",
                          "layers,offload,tile=512", "layers,offload,tile=512,kv_heads=1"));
}

}  // namespace
}  // namespace sophia::plan
