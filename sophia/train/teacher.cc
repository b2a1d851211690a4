#include "sophia/train/teacher.h"

#include <cmath>

#include "sophia/base/error.h"
#include "sophia/base/strings.h"
#include "sophia/lora/peft.h"
#include "sophia/models/weights.h"

namespace sophia::train {
namespace {

constexpr std::string_view kWhere = "teacher";
// Of the factor B of a random teacher, beside A's.
constexpr float kRandomSize = 0.1F;

// B is zero, so that the adapter adds nothing; in a random teacher it is drawn as A is.
std::vector<float> ValuesOf(const nn::ParamSpec& spec, const TrainOptions& options) {
  if (spec.init != nn::ParamInit::kZeros || options.isomorphism->teacher == kBaseTeacher) {
    return models::InitialValues(spec, options.seed);
  }
  nn::ParamSpec drawn = spec;
  drawn.init = nn::ParamInit::kKaimingUniform;
  std::vector<float> values = models::InitialValues(drawn, options.seed);
  for (float& value : values) value *= kRandomSize;
  return values;
}

}  // namespace

void CheckTeacher(const TrainOptions& options) {
  const IsomorphismObjective& objective = *options.isomorphism;
  if (options.lora.use_dora || options.lora.init == lora::LoraInit::kPissa) {
    Fail("objective", "expected plain LoRA for isomorphism, got {}",
         options.lora.use_dora ? "DoRA" : "PiSSA");
  }
  if (!options.lora.modules_to_save.empty()) {
    Fail("objective", "expected no modules_to_save for isomorphism, got {}",
         Join(options.lora.modules_to_save, ", "));
  }
  const bool starts_at_base = options.init_adapter.empty();
  if (objective.teacher == kBaseTeacher && starts_at_base && objective.term.language_weight == 0) {
    Fail(kWhere,
         "expected language_weight above 0 beside the teacher base, whose geometry the adapter "
         "begins with, got 0");
  }
  if (!objective.HasFolder()) return;
  const lora::LoraConfig config = lora::ReadAdapterConfig(objective.teacher);
  if (config.rank != options.lora.rank || std::abs(config.scale() - options.lora.scale()) > 1e-9) {
    Fail(kWhere,
         "expected an adapter of rank {} and scale {:g} as the trained one, got {} and {:g}",
         options.lora.rank, options.lora.scale(), config.rank, config.scale());
  }
}

std::vector<pjrt::Buffer> LoadTeacher(const TrainOptions& options, const models::ModelPlan& plan,
                                      const pjrt::Device& device) {
  const bool has_folder = options.isomorphism->HasFolder();
  std::vector<pjrt::Buffer> all;
  for (const nn::ParamSpec& spec : plan.specs()) {
    if (!spec.trainable || has_folder) {
      all.emplace_back(nullptr, nullptr);
    } else {
      all.push_back(pjrt::Buffer::FromHost(device, spec.shape(), ValuesOf(spec, options)));
    }
  }
  if (has_folder) lora::LoadAdapter(options.isomorphism->teacher, plan.specs(), device, all);
  std::vector<pjrt::Buffer> trainable;
  for (size_t i = 0; i < all.size(); ++i) {
    if (plan.specs()[i].trainable) trainable.push_back(std::move(all[i]));
  }
  return trainable;
}

}  // namespace sophia::train
