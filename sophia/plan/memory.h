#pragma once

#include <cstdint>

#include "sophia/models/model_plan.h"
#include "sophia/train/step.h"

namespace sophia::plan {

// What a step keeps in device memory, in bytes; `peak` holds them all.
struct MemoryTable {
  int64_t weights = 0;    // frozen
  int64_t adapters = 0;   // trained
  int64_t optimizer = 0;  // state
  int64_t batch = 0;      // ids, positions and labels
  int64_t saved = 0;      // of the forward pass, for the backward pass
  int64_t temporaries = 0;
  int64_t peak = 0;
  int64_t saved_on_host = 0;  // beside the peak

  // Sets the peak and the temporaries. Small activations may never leave the chip: then less than
  // was counted is saved.
  void SetPeak(int64_t bytes);
};

// All but temporaries and peak, counted on the traced step.
MemoryTable CountMemory(const models::ModelPlan& model, const train::StepProgram& step);

// Bytes of the largest array of parameters: loading it takes as much host memory.
int64_t LargestParameter(const models::ModelPlan& model);

}  // namespace sophia::plan
