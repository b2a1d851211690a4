#pragma once

#include <string>

#include "sophia/train/examples.h"

namespace sophia::train {

// What is put around trained tokens.
struct Marks {
  std::string begin = "⟦";
  std::string end = "⟧";
};

// The example's text with its trained tokens marked, or its ids where there is no tokenizer.
// Control characters but tabs and ends of lines are written as \x1b.
std::string MarkedText(const Example& example, const TextEncoder& encoder, const Marks& marks = {});

}  // namespace sophia::train
