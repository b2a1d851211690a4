#include <iterator>

#include "tests/kernels/kernel_case.h"

namespace sophia::kernels {

std::vector<KernelCase> AllCases() {
  std::vector<KernelCase> all;
  for (std::vector<KernelCase> cases :
       {AdamWCases(), AttentionCases(), DropoutCases(), FlashCases(), GluCases(),
        LinearCrossEntropyCases(), QuantMatMulCases(), RmsNormCases(), RotaryCases()}) {
    std::move(cases.begin(), cases.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace sophia::kernels
