#include "sophia/cli/output_options.h"

namespace sophia::cli {
namespace {

train::ResumeOptions ResumeFrom(const Values& values) {
  const std::string from = values.Text("resume_from_checkpoint");
  const bool is_off = from.empty() || from == "false";
  if (values.Flag("resume")) {
    if (is_off || from == "true") return {.mode = train::ResumeMode::kLatest};
    throw UsageError("expected --resume or --resume-from-checkpoint, got both");
  }
  if (is_off) return {};
  if (from == "true") return {.mode = train::ResumeMode::kLatest};
  if (from == "auto") return {.mode = train::ResumeMode::kAuto};
  return {.mode = train::ResumeMode::kFrom, .folder = from};
}

std::optional<std::filesystem::path> LoggingDir(const Values& values) {
  const std::string given = values.Text("logging_dir");
  if (values.Text("report_to") == "tensorboard") {
    return given.empty() ? values.NeedText("output_dir") + "/runs" : given;
  }
  if (given.empty()) return std::nullopt;
  throw UsageError(
      "expected --report-to tensorboard beside --logging-dir, got nothing that goes there");
}

}  // namespace

train::OutputOptions OutputOptionsFrom(const Values& values) {
  train::OutputOptions output{.folder = values.NeedText("output_dir"),
                              .overwrite = values.Flag("overwrite_output_dir"),
                              .save = {.steps = values.Integer("save_steps"),
                                       .minutes = values.Number("save_minutes"),
                                       .total_limit = values.Integer("save_total_limit")},
                              .resume = ResumeFrom(values),
                              .logging_dir = LoggingDir(values),
                              .verify_base = values.Flag("verify_base")};
  if (values.Text("save_strategy") == "no") {
    output.save.steps = 0;
    output.save.minutes = 0;
  }
  if (output.overwrite && output.resume.mode != train::ResumeMode::kNo) {
    throw UsageError("expected --overwrite-output-dir or to resume, got both");
  }
  return output;
}

}  // namespace sophia::cli
