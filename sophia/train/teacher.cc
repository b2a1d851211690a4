#include "sophia/train/teacher.h"

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/sha256.h"
#include "sophia/base/strings.h"
#include "sophia/lora/peft.h"
#include "sophia/models/quant_rule.h"
#include "sophia/models/weights.h"
#include "sophia/train/fingerprint.h"
#include "sophia/train/same_vocabulary.h"

namespace sophia::train {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kWhere = "teacher";
// Of the factor B of a random teacher, beside A's.
constexpr float kRandomSize = 0.1F;

// The base model under a name of its own, or by its path.
bool IsBase(const TrainOptions& options) {
  const std::string& teacher = options.isomorphism->teacher;
  std::error_code ignored;
  return teacher == kBaseTeacher ||
         (options.isomorphism->IsPath() && fs::equivalent(teacher, options.model, ignored));
}

void CheckStudent(const TrainOptions& options) {
  const IsomorphismObjective& objective = *options.isomorphism;
  if (options.lora.init == lora::LoraInit::kPissa) {
    Fail("objective",
         "expected an adapter that leaves the base weights for isomorphism, got PiSSA");
  }
  if (!options.lora.modules_to_save.empty()) {
    Fail("objective", "expected no modules_to_save for isomorphism, got {}",
         Join(options.lora.modules_to_save, ", "));
  }
  if (objective.IsPath() && !fs::exists(objective.teacher)) {
    Fail(kWhere,
         "expected base, random, the folder of a PEFT adapter, or another model's file or folder, "
         "got "
         "'{}'{}",
         objective.teacher,
         DidYouMean(objective.teacher, {std::string(kBaseTeacher), std::string(kRandomTeacher)}));
  }
  if (IsBase(options) && options.init_adapter.empty() && objective.term.language_weight == 0) {
    Fail(kWhere,
         "expected language_weight above 0 beside the teacher base, whose geometry the adapter "
         "begins with, got 0");
  }
}

}  // namespace

Teacher::Teacher(const TrainOptions& options, const models::ModelFiles& files,
                 const models::ModelPlan& student)
    : teacher_(options.isomorphism->teacher), seed_(options.seed) {
  CheckStudent(options);
  if (options.isomorphism->IsPath() && !lora::IsAdapterFolder(teacher_)) {
    BuildOtherModel(files, student, options.dtype);
    return;
  }
  if (teacher_ == kRandomTeacher) {
    lora_ = options.lora;
    lora_->use_dora = false;
  } else if (options.isomorphism->IsPath()) {
    lora_ = lora::ReadAdapterConfig(teacher_);
    if (!lora_->modules_to_save.empty()) {
      Fail(teacher_, "expected an adapter without modules_to_save, got {}",
           Join(lora_->modules_to_save, ", "));
    }
  }
  BuildOnBase(files, student, options);
}

bool Teacher::IsAdapter() const { return lora_ && teacher_ != kRandomTeacher; }

void Teacher::BuildOnBase(const models::ModelFiles& files, const models::ModelPlan& student,
                          const TrainOptions& options) {
  std::unique_ptr<nn::ParamPolicy> policy = std::make_unique<nn::ParamPolicy>(options.dtype);
  if (lora_) policy = std::make_unique<lora::LoraPolicy>(options.dtype, *lora_);
  plan_ = models::BuildPlan(files, std::move(policy), options.quant);
  if (IsAdapter()) lora::CheckAdapter(teacher_, plan_->specs());
  const std::vector<nn::ParamSpec>& own = student.specs();
  for (const nn::ParamSpec& spec : plan_->specs()) {
    if (spec.trainable) {
      shared_.emplace_back();
      continue;
    }
    const auto same = std::ranges::find(own, spec.name(), &nn::ParamSpec::name);
    SOPHIA_CHECK(same != own.end() && !same->trainable && same->shape() == spec.shape(),
                 "the student has no frozen '{}'", spec.name());
    shared_.emplace_back(same - own.begin());
  }
}

void Teacher::BuildOtherModel(const models::ModelFiles& student_files,
                              const models::ModelPlan& student, DType dtype) {
  files_ = models::ModelFiles::OpenConfig(teacher_);
  plan_ = models::BuildPlan(*files_, std::make_unique<nn::ParamPolicy>(dtype), "auto");
  CheckSameVocabulary({student_files, student.model->sizes().vocab},
                      {*files_, plan_->model->sizes().vocab});
  shared_.resize(plan_->specs().size());
}

std::vector<pjrt::Buffer> Teacher::Load(const pjrt::Device& device) const {
  if (files_) {
    return models::LoadParameters(models::ModelFiles::Open(teacher_), *plan_, device, seed_);
  }
  const std::vector<nn::ParamSpec>& specs = plan_->specs();
  std::vector<pjrt::Buffer> all;
  for (const nn::ParamSpec& spec : specs) {
    if (!spec.trainable || teacher_ != kRandomTeacher) {
      all.emplace_back(nullptr, nullptr);
      continue;
    }
    nn::ParamSpec drawn = spec;
    drawn.init = nn::ParamInit::kKaimingUniform;
    std::vector<float> values = models::InitialValues(drawn, seed_);
    if (spec.init == nn::ParamInit::kZeros) {
      for (float& value : values) value *= kRandomSize;
    }
    all.push_back(pjrt::Buffer::FromHost(device, spec.shape(), values));
  }
  if (IsAdapter()) lora::LoadAdapter(teacher_, specs, device, all);
  std::vector<pjrt::Buffer> own;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!shared_[i]) own.push_back(std::move(all[i]));
  }
  return own;
}

std::string Teacher::Fingerprint() const {
  if (files_) return train::Fingerprint(models::ModelFiles::Open(teacher_));
  if (!IsAdapter()) return "";
  Sha256 hash;
  for (const char* name : {"adapter_config.json", "adapter_model.safetensors"}) {
    hash.Update(MappedFile(fs::path(teacher_) / name).bytes());
  }
  return hash.HexDigest();
}

}  // namespace sophia::train
