#include "sophia/merge/model_card.h"

#include <fmt/format.h>

#include "sophia/base/strings.h"

namespace sophia::merge {

std::string ModelCard(const MergedModel& model) {
  const std::string base = model.name();
  std::string card = "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n";
  card += "- sophia-pallas\n- lora\n---\n\n";
  card += fmt::format("# {}, fine-tuned\n\n", base);
  if (!model.lora()) {
    return card + fmt::format("The weights of `{}`, unchanged.\n", base);
  }
  const lora::LoraConfig& lora = *model.lora();
  card +=
      fmt::format("`{}` with a {} adapter merged into its weights, `{}`.\n\n", base,
                  lora.use_dora ? "DoRA" : "LoRA",
                  lora.use_dora ? "m · (W + scale · B·A) / ‖W + scale · B·A‖" : "W + scale · B·A");
  card += "| | |\n|---|---|\n";
  card += fmt::format("| rank | {} |\n", lora.rank);
  card += fmt::format("| alpha | {:g} (scale {:g}{}) |\n", lora.alpha, lora.scale(),
                      lora.rs_lora ? ", rank-stabilised" : "");
  if (!lora.rank_pattern.empty()) {
    card += fmt::format("| ranks of some modules | {} |\n", lora::PatternsText(lora.rank_pattern));
  }
  if (!lora.alpha_pattern.empty()) {
    card +=
        fmt::format("| alphas of some modules | {} |\n", lora::PatternsText(lora.alpha_pattern));
  }
  card += fmt::format("| target modules | {} |\n", lora::TargetsText(lora.targets));
  if (!lora.modules_to_save.empty()) {
    card += fmt::format("| modules trained as a whole | {} |\n", Join(lora.modules_to_save, ", "));
  }
  return card + "\nMade with Sophia-Pallas.\n";
}

}  // namespace sophia::merge
