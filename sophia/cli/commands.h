#pragma once

#include "sophia/cli/options.h"

namespace sophia::cli {

// One subcommand each: prints its result on stdout and returns the exit code. Throw UsageError for
// missing or contradicting options, Error for bad input.
int RunTrain(const Values& values);
int RunProve(const Values& values);
int RunPreview(const Values& values);
int RunPlan(const Values& values);
int RunMerge(const Values& values);
int RunExport(const Values& values);
int RunEval(const Values& values);
int RunCompare(const Values& values);
int RunGenerate(const Values& values);
int RunChat(const Values& values);
int RunTokenize(const Values& values);
int RunLogits(const Values& values);
int RunInspect(const Values& values);
int RunDoctor(const Values& values);
int RunKernels(const Values& values);
int RunReport(const Values& values);

}  // namespace sophia::cli
