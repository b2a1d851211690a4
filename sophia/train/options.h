#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sophia/base/json.h"
#include "sophia/lora/lora.h"
#include "sophia/optim/optimizers.h"
#include "sophia/pjrt/client.h"
#include "sophia/runtime/cache.h"
#include "sophia/runtime/program.h"
#include "sophia/train/isomorphism_term.h"
#include "sophia/train/memory_policy.h"
#include "sophia/train/optimizer.h"

namespace sophia::train {

enum class EvalStrategy : uint8_t { kNo, kSteps, kEpoch };
enum class EvalMetric : uint8_t { kLoss, kPerplexity };
// As transformers names them, by kind.
inline constexpr std::array<std::string_view, 3> kEvalStrategyNames = {"no", "steps", "epoch"};
inline constexpr std::array<std::string_view, 2> kEvalMetricNames = {"eval_loss",
                                                                     "eval_perplexity"};

// When a run is evaluated, and on what.
struct EvalOptions {
  // Files of rows, or folders with valid.jsonl; empty: the valid.jsonl of folders in the data.
  std::vector<std::filesystem::path> data = {};
  double split = 0;  // share of the data's rows that is not trained on but evaluated; 0: none
  EvalStrategy strategy = EvalStrategy::kNo;  // kSteps and kEpoch also evaluate after the last step
  bool needs_rows = false;                    // without any it is an error; else strategy is kNo
  int64_t steps = 500;
  int64_t batch = 8;                      // sequences
  EvalMetric metric = EvalMetric::kLoss;  // decides what is best
  bool greater_is_better = false;
  bool load_best = false;  // the final adapter is that of the best checkpoint
  int64_t patience = 0;    // evaluations without an improvement that end the run; 0: never
  double threshold = 0;    // an improvement is more than this
};

// Teachers that are no folder: the base model, and the base model with an adapter drawn from the
// run's seed.
inline constexpr std::string_view kBaseTeacher = "base";
inline constexpr std::string_view kRandomTeacher = "random";

// The objective "isomorphism".
struct IsomorphismObjective {
  // One of the names above, the folder of a PEFT adapter, or another model's file or folder.
  std::string teacher;
  bool IsPath() const { return teacher != kBaseTeacher && teacher != kRandomTeacher; }
  IsomorphismTerm term = {};
};

// What a fine-tuning run is asked to do. Names and meaning follow TRL's SFTConfig and PEFT's
// LoraConfig.
struct TrainOptions {
  std::filesystem::path model;  // a GGUF file or a folder
  // Files of rows, see io::ParseRow, or folders with train.jsonl.
  std::vector<std::filesystem::path> data;
  std::vector<double> data_weights = {};  // times a row of each is dealt out an epoch; empty: once
  bool streaming = false;                 // rows are encoded as the run goes, and not kept
  std::filesystem::path init_adapter = {};  // start from this adapter; it also gives `lora`
  DType dtype = DType::kBF16;               // of base weights and activations
  std::string quant = "auto";               // how linear weights are kept, see ModelFiles
  std::optional<pallas::Mode> kernels = std::nullopt;  // nullopt: Mosaic on a TPU, else plain ops
  lora::LoraConfig lora = {.rank = 16, .alpha = 32};

  std::optional<IsomorphismObjective> isomorphism = std::nullopt;  // nullopt: the rows' loss alone
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  optim::AdamOptions adam = {};  // its b1, b2 and eps, where it has them
  OptimizerArguments optimizer_arguments = {};
  double learning_rate = 2e-4;
  double loraplus_lr_ratio = 1;  // see StepOptions
  optim::ScheduleKind lr_scheduler = optim::ScheduleKind::kLinear;
  int64_t warmup_steps = 0;
  double weight_decay = 0;
  double max_grad_norm = 1;  // 0: no clipping

  int64_t max_steps = -1;  // above 0 it wins over num_train_epochs
  double num_train_epochs = 3;
  int64_t batch = 8;  // sequences a micro-batch
  int64_t gradient_accumulation_steps = 1;
  int64_t max_length = 1024;
  bool packing = true;  // several rows in a sequence, where they fit
  bool shuffle = true;
  std::optional<MemoryPolicy> policy = {};  // absent: the first of PoliciesByTime that fits
  uint64_t seed = 42;                       // below 2^32
  EvalOptions eval = {};

  // Throws Error naming the option that is out of range.
  void Check() const;
  // By the keys of `sophia train`; without the places of files, all that a run's numbers depend on.
  Json ToJson() const;
};

enum class ResumeMode : uint8_t {
  kNo,      // start anew; the output folder must have no checkpoints
  kLatest,  // continue from its latest checkpoint
  kAuto,    // the same, or start anew where there is none
  kFrom,    // continue from ResumeOptions::folder
};

struct ResumeOptions {
  ResumeMode mode = ResumeMode::kNo;
  std::filesystem::path folder = {};
};

// When a run saves its state. It always does so when it is interrupted.
struct SaveOptions {
  int64_t steps = 500;      // every so many, and at the end; 0: never
  double minutes = 0;       // also after so many; 0: never
  int64_t total_limit = 0;  // older checkpoints are deleted; 0: none
};

// Where a run writes, and what it does with what is there.
struct OutputOptions {
  std::filesystem::path folder;
  bool overwrite = false;  // delete the checkpoints of earlier runs
  SaveOptions save = {};
  ResumeOptions resume = {};
  std::optional<std::filesystem::path> logging_dir = std::nullopt;  // gets TensorBoard event files
  bool verify_base = true;  // compare the base weights before and after, by SHA-256
};

// Where a run takes place.
struct TrainEnvironment {
  std::shared_ptr<const pjrt::Client> client;
  std::optional<pjrt::Device> chosen_device = std::nullopt;  // of the client; nullopt: its first
  std::optional<CompileCache> cache = std::nullopt;
  // Called with the compiled step before the weights are loaded; says whether it fits.
  std::function<bool(const Program& step, const MemoryPolicy& policy)> on_compiled = {};
  // The same of the evaluation, beside which `state` bytes of the optimiser stay on the device.
  std::function<bool(const Program& evaluation, int64_t state)> on_evaluation_compiled = {};
  // What `on_compiled` found of the step that is run, for plan.json of the output folder.
  std::function<Json()> plan = {};

  pjrt::Device device() const { return chosen_device ? *chosen_device : client->default_device(); }
};

// The learning rate of a run of `total_steps`.
optim::Schedule ScheduleOf(const TrainOptions& options, int64_t total_steps);
// Clipping, then the optimiser, at the rate that the step gives it. `target` says how its kernels
// are traced.
optim::Transform OptimizerOf(const TrainOptions& options, const kernels::KernelTarget& target = {});

}  // namespace sophia::train
