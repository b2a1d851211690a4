#include <algorithm>
#include <array>
#include <limits>

#include "sophia/cli/options.h"

namespace sophia::cli {
namespace {

using enum OptionType;

constexpr uint32_t kTraining = kTrain | kProve | kPlan;
constexpr uint32_t kMeasuring = kEval | kCompare;
constexpr uint32_t kRunning = kTrain | kProve | kGenerate | kChat | kLogits | kMeasuring;
constexpr uint32_t kTalking = kGenerate | kChat;
constexpr uint32_t kAnswering = kTalking | kMeasuring;

constexpr std::string_view kModel = "Model and data";
constexpr std::string_view kResult = "Result";
constexpr std::string_view kLora = "LoRA";
constexpr std::string_view kObjective = "Objective";
constexpr std::string_view kOptimiser = "Optimiser";
constexpr std::string_view kSteps = "Steps and batches";
constexpr std::string_view kMemory = "Memory";
constexpr std::string_view kCheckpoints = "Checkpoints";
constexpr std::string_view kEvaluation = "Evaluation";
constexpr std::string_view kMetrics = "Metrics";
constexpr std::string_view kInput = "Input";
constexpr std::string_view kSampling = "Sampling";
constexpr std::string_view kMachine = "Machine";
constexpr std::string_view kPlanning = "Plan";

// Sizes multiply: below this bound, the product of three stays within 64 bits.
constexpr double kLargestSize = 1 << 20;
constexpr Range kSize = From(1, kLargestSize);
// Steps are counted in 32 bits.
constexpr double kMostSteps = std::numeric_limits<int32_t>::max();
constexpr Range kStepsOrNone = {.low = 1, .high = kMostSteps, .also = -1};
// The upper half of the 64 bits from which dropout draws.
constexpr Range kSeed = From(0, std::numeric_limits<uint32_t>::max());
constexpr Range kEpochs = {.low = 0, .high = 1e6, .low_open = true};
constexpr Range kShareBelowAll = {.low = 0, .high = 1, .high_open = true};
constexpr Range kShareAboveNone = {.low = 0, .high = 1, .low_open = true};

constexpr std::string_view kQuants = "FORMAT[,NAME=FORMAT]";
constexpr std::string_view kQuantHelp =
    "of linear weights, then of modules by name. auto: as packed in the files; none: unpacked "
    "once; nf4, int8, int4 (groups of 64), int4_g32, int4_g128: quantised on load. embed_tokens "
    "and "
    "lm_head take none or int8";

constexpr auto kOptions = std::to_array<OptionSpec>({
    {kTraining, kModel, "config", "", kText, "FILE.yaml", "",
     "these options as keys of a YAML file; flags win over it"},
    {kRunning | kTokenize | kPlan | kMerge | kExport | kPreview, kModel, "model_name_or_path",
     "model", kText, "PATH", "", "GGUF file, or folder with config.json and safetensors"},
    {kTraining | kPreview, kModel, "data", "dataset_name", kTexts, "ROWS.jsonl", "",
     "file of rows (.jsonl, .json, .parquet), or folder with train.jsonl; several when given "
     "again"},
    {kTrain, kModel, "data_weights", "", kNumbers, "W,W", "",
     "for each --data: how many times an epoch deals out its rows, as 2 or 0.5", Above(0)},
    {kTrain, kModel, "streaming", "", kFlag, "", "false",
     "encode rows while training instead of before, so that they need not fit into memory"},
    {kTrain | kPlan, kModel, "output_dir", "out", kText, "FOLDER", "",
     "where the adapter, metrics.jsonl and checkpoints go"},
    {kTraining, kModel, "init_adapter", "", kText, "FOLDER", "",
     "start from this PEFT adapter, which also sets the LoRA options"},
    {kMeasuring, kModel, "data", "dataset_name eval_data", kTexts, "ROWS.jsonl", "",
     "rows to measure on: a file, or a folder's valid.jsonl; several when given again"},
    {kCompare, kModel, "first", "", kText, "ADAPTER", "",
     "PEFT adapter, another model of the same vocabulary, or base; alone: against the base model",
     Range(), true},
    {kCompare, kModel, "second", "", kText, "OTHER", "", "another", Range(), true},
    {kTalking | kLogits | kMerge | kExport | kEval, kModel, "adapter", "", kText, "FOLDER", "",
     "PEFT adapter to apply"},
    {kInspect, kModel, "path", "", kText, "PATH", "",
     "model folder, adapter folder, GGUF or safetensors file", Range(), true},
    {kInspect, kModel, "tensors", "", kFlag, "", "false", "list every tensor"},

    {kMerge, kResult, "out", "output output_dir", kText, "FOLDER", "", "gets the merged model"},
    {kMerge, kResult, "dtype", "torch_dtype", kText, "bf16|f16|f32|bfloat16|float16|float32",
     "bf16", "of the merged weights"},
    {kMerge,
     kResult,
     "max_shard_size",
     "",
     kNumber,
     "GB",
     "5",
     "of one file of weights",
     {.low = 0, .high = 1e6, .low_open = true}},
    {kExport, kResult, "out", "output", kText, "FILE.gguf", "", "gets the model"},
    {kExport, kResult, "quantization", "quantization_method q", kText,
     "f32|f16|bf16|q8_0|q4_0|q4_k_m", "q8_0", "how weights are stored"},
    {kExport, kResult, "adapter_only", "", kFlag, "", "false",
     "write the adapter alone, for llama.cpp's --lora"},

    {kTraining, kLora, "lora_r", "r lora_rank", kInteger, "N", "16", "rank", kSize},
    {kTraining, kLora, "lora_alpha", "", kNumber, "X", "32", "scale of the adapter times rank",
     Above(0)},
    {kTraining, kLora, "lora_dropout", "", kNumber, "X", "0", "of the adapter's input in training",
     kShareBelowAll},
    {kTraining, kLora, "lora_target_modules", "target_modules", kTextOrList, "NAMES", "all-linear",
     "names separated by commas, a regular expression, or all-linear"},
    {kTraining, kLora, "use_rslora", "", kFlag, "", "false", "scale by alpha / sqrt(rank)"},
    {kTraining, kLora, "use_dora", "", kFlag, "", "false",
     "DoRA: train the magnitudes of the weights' rows beside their directions"},
    {kTraining, kLora, "init_lora_weights", "", kTextOrFlag, "NAME", "true",
     "true: A at random and B zero; pissa, pissa_niter_N: begin with the principal part of the "
     "weights, by an SVD to convergence or N "
     "iterations, and train it; the adapter is saved as one of twice the rank for the base itself"},
    {kTraining, kLora, "lora_rank_pattern", "rank_pattern", kPatterns, "NAME=N[,NAME=N]", "",
     "rank of modules by the end of their path, a name or regular expression; the first that "
     "matches counts"},
    {kTraining, kLora, "lora_alpha_pattern", "alpha_pattern", kPatterns, "NAME=X[,NAME=X]", "",
     "alpha of modules, likewise"},
    {kTraining, kLora, "lora_modules_to_save", "modules_to_save", kTextOrList, "NAMES", "",
     "modules that are trained as a whole and kept with the adapter, by the ends of their paths: "
     "embed_tokens,lm_head"},
    {kTraining, kLora, "loraplus_lr_ratio", "", kNumber, "X", "1",
     "LoRA+: times the learning rate of B", Above(0)},

    {kTraining, kObjective, "objective", "", kText, "sft|isomorphism", "sft",
     "sft: the loss of the rows' trained tokens; isomorphism: hidden states whose geometry in each "
     "layer is the teacher's"},
    {kTraining, kObjective, "teacher", "", kText, "TEACHER", "",
     "of isomorphism: base (the base model on the same text), random (with an adapter drawn from "
     "the "
     "seed), the folder of a PEFT adapter, or another model of the same vocabulary"},
    {kTraining, kObjective, "isomorphism_weight", "", kNumber, "X", "1",
     "times the mean over layers of 1 - CKA and the loss of pairwise distances", Above(0)},
    {kTraining, kObjective, "language_weight", "", kNumber, "X", "0",
     "times the loss of the rows beside isomorphism", AtLeast(0)},
    {kTraining, kObjective, "isomorphism_tokens", "", kInteger, "N", "128",
     "trained tokens of a micro-batch that are compared, at most", From(3, 4096)},

    {kTraining, kOptimiser, "optim", "", kText,
     "adamw_torch|adamw_8bit|adamw_bnb_8bit|adamw_bf16|sgd|adafactor|lion|muon|sophia|sophiag|"
     "sophiah",
     "adamw_torch",
     "AdamW, with moments in f32, 8 bits, or the first in bf16; SGD without momentum; Adafactor, "
     "Lion, Muon; Sophia "
     "with the Gauss-Newton-Bartlett (sophiag, sophia) or Hutchinson estimator"},
    {kTraining, kOptimiser, "optim_args", "", kTextOrList, "NAME=X[,NAME=X]", "",
     "of adafactor: clip_threshold=1, decay_rate=-0.8; of muon: momentum=0.95, ns_steps=5, "
     "consistent_rms=0; of sophiag: gamma=0.05, update_interval=10; of sophiah: gamma=0.01, "
     "update_interval=10"},
    {kTraining, kOptimiser, "learning_rate", "lr", kNumber, "X", "2e-4", "at its peak", AtLeast(0)},
    {kTraining, kOptimiser, "lr_scheduler_type", "", kText,
     "linear|cosine|constant|constant_with_warmup", "linear", "how the learning rate falls"},
    {kTraining, kOptimiser, "warmup_steps", "", kInteger, "N", "0", "of rising learning rate",
     From(0, kMostSteps)},
    {kTraining, kOptimiser, "weight_decay", "", kNumber, "X", "0",
     "a step, times the learning rate", AtLeast(0)},
    {kTraining, kOptimiser, "max_grad_norm", "", kNumber, "X", "1", "gradient clipping; 0: off",
     AtLeast(0)},
    {kTraining, kOptimiser, "adam_beta1", "", kNumber, "X", "",
     "decay of the first moment: 0.9, of sophia 0.96", kShareBelowAll},
    {kTraining, kOptimiser, "adam_beta2", "", kNumber, "X", "",
     "decay of the second moment: 0.999; of lion 0.99, of sophia 0.99", kShareBelowAll},
    {kTraining, kOptimiser, "adam_epsilon", "", kNumber, "X", "",
     "added to the denominator: 1e-8; of sophia its least value, 1e-12", AtLeast(0)},

    {kTrain | kPlan, kSteps, "max_steps", "", kInteger, "N", "-1", "-1: num_train_epochs counts",
     kStepsOrNone},
    {kTrain | kPlan, kSteps, "num_train_epochs", "", kNumber, "X", "3", "times through the data",
     kEpochs},
    {kTraining, kSteps, "per_device_train_batch_size", "batch_size", kInteger, "N", "8",
     "sequences a micro-batch", kSize},
    {kTraining, kSteps, "gradient_accumulation_steps", "", kInteger, "N", "1",
     "micro-batches a step", kSize},
    {kTrain | kProve | kPreview | kMeasuring, kSteps, "max_length", "max_seq_length", kInteger, "N",
     "1024", "longer rows are cut to this many tokens", From(2, kLargestSize)},
    {kPlan, kSteps, "max_length", "max_seq_length", kIntegerOrAuto, "N", "1024",
     "tokens a row; auto: as many as fit", From(2, kLargestSize)},
    {kTraining | kMeasuring, kSteps, "packing", "sample_packing", kFlag, "", "true",
     "fill sequences with several rows, which do not see each other"},
    {kTraining, kSteps, "shuffle", "", kFlag, "", "true",
     "deal out the rows in another order each epoch"},
    {kTraining, kSteps, "seed", "", kInteger, "N", "42", "of first values, order and dropout",
     kSeed},

    {kTraining, kMemory, "policy", "", kText, "LEVERS", "auto",
     "auto: the first of a list that fits; or what layers keep for the backward pass (everything, "
     "products, "
     "layers, or of linear, attention and lora, joined by +) and, after commas, every=K, offload, "
     "prefetch, offload_tables, tile=N, kv_heads=N, loss_chunk=N"},
    {kTraining, kMemory, "gradient_checkpointing", "", kFlag, "", "false",
     "same as --policy layers"},

    {kTrain, kCheckpoints, "save_strategy", "", kText, "steps|no", "steps",
     "steps: at --save-steps, --save-minutes and the end; no: only when interrupted"},
    {kTrain, kCheckpoints, "save_steps", "", kInteger, "N", "500", "save every N steps",
     From(1, kMostSteps)},
    {kTrain, kCheckpoints, "save_minutes", "", kNumber, "X", "0",
     "save also when X minutes have passed since; 0: off", AtLeast(0)},
    {kTrain, kCheckpoints, "save_total_limit", "", kInteger, "N", "0",
     "keep N checkpoints, the latest and the best among them; 0: all", From(0, kMostSteps)},
    {kTrain, kCheckpoints, "resume", "", kFlag, "", "false",
     "continue from the latest checkpoint in the output folder"},
    {kTrain, kCheckpoints, "resume_from_checkpoint", "", kTextOrFlag, "PATH", "",
     "a checkpoint; true: as --resume; auto: the same, or start anew where there is none"},
    {kTrain, kCheckpoints, "overwrite_output_dir", "", kFlag, "", "false",
     "delete the checkpoints of an earlier run"},

    {kTrain, kEvaluation, "eval_data", "eval_dataset", kTexts, "ROWS.jsonl", "",
     "rows to evaluate on: a file, or a folder's valid.jsonl; several when given again. Else the "
     "valid.jsonl of the folders in --data"},
    {kTrain, kEvaluation, "eval_split", "val_size val_set_size", kNumber, "X", "0",
     "share of the rows of --data that is not trained on but evaluated", kShareBelowAll},
    {kTrain, kEvaluation, "eval_strategy", "evaluation_strategy", kText, "steps|epoch|no", "steps",
     "where there are rows to evaluate on: at --eval-steps or after each epoch, and at the end"},
    {kTrain, kEvaluation, "eval_steps", "", kInteger, "N", "500", "evaluate every N steps",
     From(1, kMostSteps)},
    {kTrain, kEvaluation, "per_device_eval_batch_size", "", kInteger, "N", "8",
     "sequences evaluated together", kSize},
    {kTrain, kEvaluation, "metric_for_best_model", "", kText,
     "loss|eval_loss|perplexity|eval_perplexity", "eval_loss",
     "by which the best checkpoint is told; it is saved when found, and never deleted"},
    {kTrain, kEvaluation, "greater_is_better", "", kFlag, "", "false",
     "the largest metric is the best, not the smallest"},
    {kTrain, kEvaluation, "load_best_model_at_end", "", kFlag, "", "false",
     "the final adapter is that of the best checkpoint, not that of the last step"},
    {kTrain, kEvaluation, "early_stopping_patience", "", kInteger, "N", "0",
     "stop after N evaluations without an improvement; 0: never", From(0, kMostSteps)},
    {kTrain, kEvaluation, "early_stopping_threshold", "", kNumber, "X", "0",
     "what is not more than this is no improvement", AtLeast(0)},

    {kMeasuring, kEvaluation, "exact_match", "", kFlag, "", "false",
     "answer every row, and count the answers that are as expected"},
    {kEval, kEvaluation, "before_after", "", kFlag, "", "false",
     "measure the base model as well, and show answers of both"},
    {kEval, kEvaluation, "save_samples", "", kFlag, "", "false",
     "keep the answers of --before-after in the adapter's folder, for `sophia report`"},
    {kMeasuring, kEvaluation, "samples", "", kInteger, "N", "3",
     "rows to show: of eval --before-after the first, of compare those that differ most",
     From(0, kLargestSize)},
    {kMeasuring, kEvaluation, "per_device_eval_batch_size", "batch_size", kInteger, "N", "8",
     "sequences evaluated together", kSize},

    {kTrain, kMetrics, "report_to", "", kTextOrList, "none|tensorboard", "none",
     "where metrics go beside metrics.jsonl"},
    {kTrain, kMetrics, "logging_dir", "", kText, "FOLDER", "",
     "gets TensorBoard's event files; else runs in the output folder"},
    {kTrain, kMetrics, "serve", "", kInteger, "PORT", "",
     "show the run as a live page on this port; 0: any that is free", From(0, 65535)},
    {kTrain, kMetrics, "serve_host", "", kText, "HOST", "127.0.0.1",
     "address to serve on; one that others reach gives the page's URL a random token"},
    {kTrain, kMetrics, "verify_base", "", kFlag, "", "true",
     "compare the base weights before and after the run, by SHA-256"},

    {kReport, kInput, "run", "", kText, "RUN", "", "output folder of a run", Range(), true},
    {kReport, kResult, "out", "output", kText, "FILE.html", "",
     "gets the page; else report.html in the run's folder"},
    {kPreview, kInput, "rows", "", kInteger, "N", "3", "rows to print", From(0, kLargestSize)},
    {kGenerate, kInput, "prompt", "", kText, "TEXT", "", "one turn of the user"},
    {kTalking, kInput, "system", "", kText, "TEXT", "", "what the conversation starts with"},
    {kGenerate | kTokenize, kInput, "messages", "", kText, "FILE.json", "",
     "a conversation: a list of messages, or an object with messages and tools"},
    {kGenerate, kInput, "data", "dataset_name", kText, "ROWS.jsonl", "",
     "answer every row's last turn from the turns before"},
    {kGenerate, kInput, "out", "output", kText, "FILE.jsonl", "",
     "prompt, expected and generated text of every row of --data"},
    {kGenerate, kInput, "exact_match", "", kFlag, "", "false",
     "print the share of rows of --data answered as expected"},
    {kGenerate, kInput, "raw", "", kFlag, "", "false", "continue --prompt without a chat template"},
    {kTokenize, kInput, "text", "", kText, "TEXT", "", "text to encode"},
    {kTokenize, kInput, "file", "", kText, "FILE", "", "file to encode as one text"},
    {kTokenize, kInput, "add_special_tokens", "", kFlag, "", "true",
     "put BOS and EOS around --text and --file where the tokenizer does"},
    {kTokenize, kInput, "add_generation_prompt", "", kFlag, "", "false",
     "end --messages with the start of an answer"},
    {kGenerate | kLogits, kInput, "ids", "", kText, "1,2,3", "", "token ids"},
    {kLogits, kInput, "ids_file", "", kText, "FILE.safetensors", "",
     "its integer tensor ids [B, S]"},
    {kLogits, kInput, "out", "output", kText, "FILE.safetensors", "", "gets logits, f32 [B, S, V]"},

    {kAnswering, kSampling, "max_new_tokens", "", kInteger, "N", "256", "end after this many",
     kSize},
    {kAnswering, kSampling, "temperature", "", kNumber, "X", "0", "0: the most likely token",
     AtLeast(0)},
    {kAnswering, kSampling, "top_k", "", kInteger, "N", "0", "of the k most likely; 0: all",
     AtLeast(0)},
    {kAnswering, kSampling, "top_p", "", kNumber, "X", "1", "of the most likely that reach p",
     kShareAboveNone},
    {kAnswering, kSampling, "seed", "", kInteger, "N", "42", "same seed, same text", kSeed},
    {kGenerate, kSampling, "per_device_eval_batch_size", "batch_size", kInteger, "N", "8",
     "rows of --data answered together", kSize},
    {kChat, kSampling, "max_length", "max_seq_length", kInteger, "N", "2048",
     "tokens that the conversation may have", From(2, kLargestSize)},

    {kTraining | kAnswering, kMachine, "dtype", "torch_dtype", kText, "f32|bf16|float32|bfloat16",
     "bf16", "of the base model; adapters are f32"},
    {kLogits, kMachine, "dtype", "torch_dtype", kText, "f32|bf16|float32|bfloat16", "f32",
     "of the base model; adapters are f32"},
    {kTraining | kMeasuring, kMachine, "quant", "", kText, kQuants, "auto", kQuantHelp},
    {kTalking | kLogits, kMachine, "quant", "", kText, kQuants, "none", kQuantHelp},
    {kRunning, kMachine, "device", "", kText, "cpu|tpu|cuda[:N]", "cpu",
     "where to run; tpu:1 is the second TPU of those that `sophia doctor` lists"},
    {kRunning | kDoctor | kPlan, kMachine, "plugin", "", kText, "FILE.so", "",
     "PJRT plugin to use; else $SOPHIA_PJRT_PLUGIN, else a search"},
    {kRunning | kPlan, kMachine, "kernels", "", kText, "auto|mosaic|interpret|reference", "auto",
     "TPU kernels, the same kernels interpreted, or plain ops; auto: TPU kernels on a TPU"},
    {kKernels, kMachine, "chip", "", kText, "v2|v3|v4|v5e|v5p|v6e|tpu7x", "",
     "of this TPU generation only; --dump takes v5e where nothing is said"},
    {kKernels, kInput, "dump", "", kText, "NAME", "", "print the Mosaic text of one kernel"},

    {kPlan, kPlanning, "topology", "", kText, "NAME", "v5e:1x1",
     "cpu, or a TPU by chip and sizes, such as v5e:1x1 or v5p:2x2x1"},
    {kPlan, kPlanning, "host_memory", "", kNumber, "GB", "",
     "what the host has, such as 47 beside one v5e chip of Colab; a plan that needs more does not "
     "fit",
     Above(0)},
    {kPlan, kPlanning, "confirm", "", kFlag, "", "true",
     "compile to the end; --no-confirm stops at the compiler's early check of memory"},
    {kPlan, kPlanning, "save", "", kText, "FOLDER", "",
     "keep the compiled step there, for a run with SOPHIA_CACHE_DIR=FOLDER and this libtpu; give "
     "the --data of the run"},
    {kMeasuring, kMachine, "json", "", kFlag, "", "false", "print one JSON object"},
    {kPlan, kPlanning, "compare", "", kFlag, "", "false",
     "plan with one memory policy after another instead of --policy"},
    {kPlan | kKernels, kPlanning, "json", "", kFlag, "", "false",
     "print one JSON object; of several, a list"},
});

constexpr bool HasRange(const OptionSpec& spec) {
  const bool is_number =
      spec.type == kInteger || spec.type == kNumber || spec.type == kIntegerOrAuto;
  return !is_number || spec.range.low > -std::numeric_limits<double>::infinity();
}
static_assert(std::ranges::all_of(kOptions, HasRange), "a number needs a range");

}  // namespace

std::span<const OptionSpec> AllOptions() { return kOptions; }

}  // namespace sophia::cli
