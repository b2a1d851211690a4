#include "sophia/cli/app.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <system_error>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/strings.h"
#include "sophia/cli/arguments.h"
#include "sophia/cli/commands.h"

namespace sophia::cli {
namespace {

constexpr int kFailure = 1;
constexpr int kWrongUsage = 2;
constexpr std::string_view kLostOutput = "stdout: expected to print everything, got a failed write";

struct Subcommand {
  SubcommandText text;
  int (*run)(const Values&);
};

constexpr auto kSubcommands = std::to_array<Subcommand>({
    {{kTrain, "train", "Fine-tune a model with LoRA on rows of text",
      "sophia train --model model.gguf --data rows.jsonl --out adapter --max-steps 100"},
     RunTrain},
    {{kGenerate, "generate", "Answer a prompt, a conversation or every row of a file",
      "sophia generate --model model.gguf --adapter adapter --prompt 'Hello!'"},
     RunGenerate},
    {{kChat, "chat", "Talk with a model in the terminal",
      "sophia chat --model model.gguf --adapter adapter"},
     RunChat},
    {{kEval, "eval", "Measure loss, perplexity and exact match on rows",
      "sophia eval --model model.gguf --adapter adapter --data valid.jsonl --before-after"},
     RunEval},
    {{kCompare, "compare", "Measure two adapters, or the base and one, on the same rows",
      "sophia compare adapter other --model model.gguf --data valid.jsonl"},
     RunCompare},
    {{kPreview, "preview", "Print rows with the trained tokens marked, and how long rows are",
      "sophia preview --model model.gguf --data rows.jsonl"},
     RunPreview},
    {{kTokenize, "tokenize", "Show the token ids of a text or a conversation",
      "sophia tokenize --model model.gguf --text 'Hello!'"},
     RunTokenize},
    {{kLogits, "logits", "Write a model's logits for given token ids",
      "sophia logits --model model.gguf --ids 1,2,3 --out logits.safetensors"},
     RunLogits},
    {{kMerge, "merge", "Add an adapter to its model's weights and write a Hugging Face folder",
      "sophia merge --model model.gguf --adapter adapter --out merged"},
     RunMerge},
    {{kExport, "export", "Write a GGUF file of a model, with or without an adapter",
      "sophia export --model model --adapter adapter --quantization q8_0 --out model.gguf"},
     RunExport},
    {{kInspect, "inspect", "Say what a model, an adapter or a file of tensors holds",
      "sophia inspect model.gguf"},
     RunInspect},
    {{kReport, "report", "Write one HTML page about a run: plots, options, samples, the proof of W",
      "sophia report adapter"},
     RunReport},
    {{kDoctor, "doctor", "Check plugins, devices and memory, and say what to fix", "sophia doctor"},
     RunDoctor},
    {{kKernels, "kernels", "List the TPU kernels with blocks, memory and roofline of each chip",
      "sophia kernels --chip v5e"},
     RunKernels},
    {{kProve, "prove", "Show in ten steps that the loss falls while no base weight moves",
      "sophia prove"},
     RunProve},
    {{kPlan, "plan", "Say what a run would take, from the compiler of a TPU that need not be here",
      "sophia plan --model folder --topology v5e:1x1 --batch-size 1 --max-length 2048"},
     RunPlan},
});

void PrintHelp() {
  fmt::print(
      "Fine-tunes language models with LoRA on any PJRT device.\n\n"
      "Usage: sophia SUBCOMMAND [OPTIONS]\n\nSubcommands:\n");
  for (const Subcommand& subcommand : kSubcommands) {
    fmt::print("  {:<10} {}\n", subcommand.text.name, subcommand.text.summary);
  }
  fmt::print(
      "\nOptions:\n  --help     This text; `sophia SUBCOMMAND --help` lists its options\n"
      "  --version  The version\n\nExample:\n  {}\n",
      kSubcommands[0].text.example);
}

const Subcommand& FindSubcommand(const std::string& name) {
  const auto found = std::ranges::find_if(
      kSubcommands, [&](const Subcommand& one) { return one.text.name == name; });
  if (found != kSubcommands.end()) return *found;
  std::vector<std::string> names;
  for (const Subcommand& one : kSubcommands) names.emplace_back(one.text.name);
  throw UsageError(fmt::format("expected a subcommand ({}), got '{}'{}", Join(names, ", "), name,
                               DidYouMean(name, names)));
}

int Dispatch(std::span<const std::string> arguments) {
  if (arguments.empty()) {
    PrintHelp();
    return kWrongUsage;
  }
  const std::string& first = arguments[0];
  if (first == "--help" || first == "-h" || first == "help") {
    PrintHelp();
    return 0;
  }
  if (first == "--version") {
    fmt::print("sophia {}\n", kVersion);
    return 0;
  }
  const Subcommand& subcommand = FindSubcommand(first);
  const auto parsed = ParseArguments(subcommand.text, arguments.subspan(1));
  if (const auto* help = std::get_if<HelpText>(&parsed)) {
    fmt::print("{}", help->text);
    return 0;
  }
  return subcommand.run(std::get<Values>(parsed));
}

// Messages may have several lines; what scripts read is one.
int Complain(std::string_view message, int exit_code) {
  std::vector<std::string> lines;
  for (const std::string& line : Split(message, '\n')) {
    if (!Trim(line).empty()) lines.emplace_back(Trim(line));
  }
  std::fflush(stdout);
  fmt::print(stderr, "sophia: error: {}\n", Join(lines, " "));
  return exit_code;
}

}  // namespace

int Run(std::span<const std::string> arguments) {
  // Lines show up in files and pipes when they are printed.
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  RemoveTemporariesOnSignals();
  try {
    const int exit_code = Dispatch(arguments);
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return exit_code;
    return Complain(kLostOutput, kFailure);
  } catch (const UsageError& error) {
    return Complain(error.what(), kWrongUsage);
  } catch (const Error& error) {
    return Complain(error.what(), kFailure);
  } catch (const std::bad_alloc&) {
    return Complain("expected more memory, got none", kFailure);
  } catch (const std::system_error& error) {
    if (std::ferror(stdout) != 0) return Complain(kLostOutput, kFailure);
    return Complain(error.what(), kFailure);
  } catch (const std::exception& error) {
    return Complain(fmt::format("a bug in sophia: {}", error.what()), kFailure);
  }
}

}  // namespace sophia::cli
