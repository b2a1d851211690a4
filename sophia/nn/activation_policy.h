#pragma once

#include <cstdint>

#include "sophia/graph/node.h"

namespace sophia::nn {

// What a stack of layers keeps of the forward pass for the reverse pass, how large what it computes
// at a time is, and where tables lie. Nothing here changes a result beyond rounding.
struct ActivationPolicy {
  Remat remat = {};                // of one layer
  int64_t layers_per_input = 1;    // the input of every so many layers is kept; divides the layers
  bool offloads_inputs = false;    // those inputs lie in the host's memory between the passes
  bool prefetches_inputs = false;  // from there, one while the reverse pass works on another
  // Frozen embedding and head lie in the host's memory and come to the device for each use.
  bool offloads_tables = false;
  int64_t tile = 0;      // tokens that all but attention works on at a time; 0: all
  int64_t kv_heads = 0;  // heads of keys and values that are attended to at a time; 0: all
};

}  // namespace sophia::nn
