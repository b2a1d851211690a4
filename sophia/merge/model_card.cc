#include "sophia/merge/model_card.h"

#include "sophia/base/strings.h"

namespace sophia::merge {

std::string ModelCard(const MergedModel& model) {
  const std::filesystem::path path = model.files().path();
  const std::string base = (path.has_filename() ? path : path.parent_path()).filename().string();
  std::string card = "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n";
  card += "- sophia-pallas\n- lora\n---\n\n";
  card += fmt::format("# {}, fine-tuned\n\n", base);
  if (!model.lora()) {
    return card + fmt::format("The weights of `{}`, unchanged.\n", base);
  }
  const lora::LoraConfig& lora = *model.lora();
  const auto* names = std::get_if<std::vector<std::string>>(&lora.targets);
  card +=
      fmt::format("`{}` with a LoRA adapter merged into its weights, `W + scale · B·A`.\n\n", base);
  card += "| | |\n|---|---|\n";
  card += fmt::format("| rank | {} |\n", lora.rank);
  card += fmt::format("| alpha | {:g} (scale {:g}{}) |\n", lora.alpha, lora.scale(),
                      lora.rs_lora ? ", rank-stabilised" : "");
  card += fmt::format("| target modules | {} |\n",
                      names != nullptr ? Join(*names, ", ") : std::get<std::string>(lora.targets));
  return card + "\nMade with Sophia-Pallas.\n";
}

}  // namespace sophia::merge
