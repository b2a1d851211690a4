#include <string>
#include <vector>

#include "sophia/cli/app.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return sophia::cli::Run(arguments);
}
