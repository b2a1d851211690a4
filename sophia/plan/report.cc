#include "sophia/plan/report.h"

#include <fmt/format.h>

#include <array>

#include "sophia/base/strings.h"
#include "sophia/plan/verdict.h"

namespace sophia::plan {
namespace {

double Tokens(const Plan& plan) {
  return static_cast<double>(plan.shape.accumulation * plan.shape.batch * plan.shape.seq);
}

std::string VerdictOn(const Plan& plan) {
  const int64_t spare = plan.limit - plan.memory.peak;
  if (!plan.host_fits() && spare >= 0) return "fits, but not the host";
  if (!plan.fits && spare >= 0) return "does not fit: the compiler ran out of memory";
  return FitText(plan.fits, spare);
}

std::string Proof(const Plan& plan) {
  if (plan.by_formula) {
    return "libtpu is not installed (pip install libtpu): by a formula of live arrays, not "
           "confirmed";
  }
  const std::string took = fmt::format("{:.1f} s", plan.compile_seconds);
  if (plan.target == "cpu") {
    return plan.confirmed ? took + ", and a step on zeros: confirmed"
                          : took + "; no step was run: not confirmed";
  }
  return plan.confirmed ? took + ", to the end: confirmed"
                        : "stopped at the compiler's early check: not confirmed";
}

// libtpu describes itself in several lines.
std::string OneLine(const std::string& text) { return ReplaceAll(text, "\n", ", "); }

std::string StepTime(const Plan& plan) {
  const double speed = Tokens(plan) / plan.step_seconds;
  if (plan.target == "cpu") {
    return fmt::format("{:.3g} s, {:.0f} tokens/s (measured on zeros)", plan.step_seconds, speed);
  }
  if (plan.has_cycles) {
    return fmt::format(
        "{:.3g} s, {:.0f} tokens/s (an estimate: XLA's cycles, roofline of our kernels, and "
        "transfers to the host and back)",
        plan.step_seconds, speed);
  }
  return fmt::format(
      "at least {:.3g} s, {:.0f} tokens/s at most (an estimate: roofline of matrix products and "
      "kernels, and transfers to the host and back)",
      plan.step_seconds, speed);
}

std::string HostText(const Plan& plan) {
  std::string text = HumanBytes(plan.host);
  if (plan.host_limit) {
    text += fmt::format(" of {}: {}", HumanBytes(*plan.host_limit),
                        FitText(plan.host_fits(), *plan.host_limit - plan.host));
  }
  if (plan.memory.saved_on_host > 0) {
    text += fmt::format("{} {} are offloaded", plan.host_limit ? ";" : ", of which",
                        HumanBytes(plan.memory.saved_on_host));
  }
  return text;
}

}  // namespace

std::string ToText(const Plan& plan) {
  std::string text;
  const auto line = [&](std::string_view name, std::string_view value) {
    text += fmt::format("{:<18}{}\n", name, value);
  };
  line("target", fmt::format("{}, one device of {}", plan.target, HumanBytes(plan.limit)));
  line("step",
       fmt::format("{} sequences of {} tokens, policy {}",
                   plan.shape.accumulation * plan.shape.batch, plan.shape.seq, plan.policy));
  if (!plan.reason.empty()) line("", fmt::format("policy chosen: {}", plan.reason));
  const MemoryTable& memory = plan.memory;
  line("weights", HumanBytes(memory.weights));
  line("adapters", HumanBytes(memory.adapters));
  line("optimiser state", HumanBytes(memory.optimizer));
  line("batch", HumanBytes(memory.batch));
  line("saved activations", HumanBytes(memory.saved));
  line("temporaries", HumanBytes(memory.temporaries));
  line("peak", fmt::format("{} of {}: {}", HumanBytes(memory.peak), HumanBytes(plan.limit),
                           VerdictOn(plan)));
  if (!plan.hint.empty()) line("", "hint: " + plan.hint);
  line("host memory", HostText(plan));
  line("compilation", Proof(plan));
  if (!plan.compiler.empty()) line("compiler", OneLine(plan.compiler));
  if (plan.step_seconds > 0) line("step time", StepTime(plan));
  return text;
}

std::string ToTable(const std::vector<Plan>& plans) {
  if (plans.empty()) return "";
  const Plan& first = plans[0];
  std::string text =
      fmt::format("{}, one device of {}; {} sequences\n", first.target, HumanBytes(first.limit),
                  first.shape.accumulation * first.shape.batch);
  text += fmt::format("{:<38} {:>8} {:>9} {:>9} {:>9} {:>9} {:>10}  {}\n", "policy", "tokens",
                      "peak", "saved", "on host", "step", "tokens/s", "verdict");
  for (const Plan& plan : plans) {
    const bool is_timed = plan.step_seconds > 0;
    text += fmt::format("{:<38} {:>8} {:>9} {:>9} {:>9} {:>9} {:>10}  {}{}\n", plan.policy,
                        plan.shape.seq, HumanBytes(plan.memory.peak), HumanBytes(plan.memory.saved),
                        HumanBytes(plan.memory.saved_on_host),
                        is_timed ? fmt::format("{:.3g} s", plan.step_seconds) : "?",
                        is_timed ? fmt::format("{:.0f}", Tokens(plan) / plan.step_seconds) : "?",
                        VerdictOn(plan), plan.confirmed ? ", confirmed" : "");
  }
  if (first.target != "cpu")
    text +=
        "step: of confirmed rows by XLA's cycles and the roofline of our kernels, of others at "
        "least, by the roofline of matrix products and kernels; with transfers to the host and "
        "back\n";
  return text;
}

Json ToJson(const Plan& plan) {
  const MemoryTable& memory = plan.memory;
  Json json{{"fits", plan.fits},
            {"seq", plan.shape.seq},
            {"batch", plan.shape.batch},
            {"accumulation", plan.shape.accumulation},
            {"target", plan.target},
            {"policy", plan.policy},
            {"policy_reason", plan.reason},
            {"hint", plan.hint},
            {"peak_bytes", memory.peak},
            {"limit_bytes", plan.limit},
            {"host_bytes", plan.host},
            {"host_limit_bytes", nullptr},
            {"offloaded_bytes", memory.saved_on_host},
            {"compile_seconds", nullptr},
            {"step_seconds_estimate", nullptr},
            {"step_estimate_has_cycles", plan.has_cycles},
            {"tokens_per_second_estimate", nullptr},
            {"confirmed", plan.confirmed},
            {"by_formula", plan.by_formula},
            {"compiler", OneLine(plan.compiler)},
            {"bytes",
             {{"weights", memory.weights},
              {"adapters", memory.adapters},
              {"optimizer", memory.optimizer},
              {"batch", memory.batch},
              {"saved", memory.saved},
              {"temporaries", memory.temporaries}}}};
  if (plan.host_limit) json["host_limit_bytes"] = *plan.host_limit;
  if (plan.compile_seconds > 0) json["compile_seconds"] = plan.compile_seconds;
  if (plan.step_seconds > 0) {
    json["step_seconds_estimate"] = plan.step_seconds;
    json["tokens_per_second_estimate"] = Tokens(plan) / plan.step_seconds;
  }
  return json;
}

}  // namespace sophia::plan
