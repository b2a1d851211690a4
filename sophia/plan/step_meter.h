#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sophia/plan/planner.h"
#include "sophia/train/teacher.h"

namespace sophia::plan {

// What the step of a request takes at one length with one policy: traces it and asks the target's
// compiler, or the formula where there is none.
class StepMeter {
 public:
  // Reads the model's configuration and, if the request has data, the shape of its batches;
  // `request` must outlive this. Throws Error for a bad model, options or data.
  explicit StepMeter(const PlanRequest& request);

  const models::ModelSizes& sizes() const { return model_->model->sizes(); }
  // The most that the model and its teacher know.
  int64_t positions() const;
  // Of the request; where a length is searched, all positions. CheckLength() throws Error for more
  // than those.
  int64_t length_asked() const;
  void CheckLength() const;
  int64_t limit() const { return limit_; }
  bool is_tpu() const { return request_.target.is_tpu(); }
  // What NeedAt() and unconfirmed plans know by, in words.
  const char* source() const;

  // The policies to try at length_asked(): the fastest first, or the one that takes the least of
  // the device's memory last.
  std::vector<train::MemoryPolicy> PoliciesByTime() const;
  std::vector<train::MemoryPolicy> PoliciesByMemory() const;

  // Bytes of the device, without a whole compilation; where the host is shorter of memory, as much
  // more.
  int64_t NeedAt(const train::MemoryPolicy& policy, int64_t length);
  Plan At(const train::MemoryPolicy& policy, int64_t length, bool confirm) const;

 private:
  bool has_compiler() const { return request_.target.plugin.has_value(); }
  const CompileCache* cache() const { return request_.save ? &*request_.save : nullptr; }
  train::BatchShape ShapeOf(int64_t length) const;
  train::StepOptions OptionsAt(int64_t length) const;
  train::StepProgram Trace(const train::MemoryPolicy& policy, int64_t length) const;
  int64_t LeastNeed(const Graph& graph) const;
  int64_t MeasureNeedAt(const train::MemoryPolicy& policy, int64_t length) const;
  int64_t HostNeed(const Measurement& measured, int64_t saved) const;
  Measurement MeasureOnTpu(const Graph& graph, bool confirm) const;
  Measurement MeasureRunOnCpu(const Graph& graph, bool run) const;

  const PlanRequest& request_;
  train::TrainOptions options_;
  models::ModelFiles files_;
  std::unique_ptr<models::ModelPlan> model_;
  std::optional<train::Teacher> teacher_;
  std::optional<train::BatchShape> shape_of_data_;
  int64_t limit_ = 0;
  std::map<std::pair<std::string, int64_t>, int64_t> needs_;  // by policy and length
};

}  // namespace sophia::plan
