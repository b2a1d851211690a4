#include "sophia/cli/options.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <set>

namespace sophia::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// What an option of numbers says it takes, values at the ends of that and values just beyond.
struct Domain {
  std::string_view key;
  std::string_view expected;
  std::vector<std::string> good;
  std::vector<std::string> bad;
};

const std::vector<Domain>& Domains() {
  static const std::vector<Domain> kDomains = {
      {"lora_r", "an integer from 1 to 1048576", {"1", "256"}, {"0", "-4", "1048577", "2.5"}},
      {"lora_alpha", "a number above 0", {"0.5", "32", "1e-6"}, {"0", "-1", "nan", "inf"}},
      {"lora_dropout",
       "a number of at least 0 and below 1",
       {"0", "0.05", "0.999"},
       {"1", "2", "-0.1", "nan"}},
      {"loraplus_lr_ratio", "a number above 0", {"1", "16"}, {"0", "-1", "nan"}},
      {"isomorphism_weight", "a number above 0", {"1", "0.5"}, {"0", "-1"}},
      {"language_weight", "a number of at least 0", {"0", "1"}, {"-1", "nan"}},
      {"isomorphism_tokens", "an integer from 3 to 4096", {"3", "256"}, {"2", "4097"}},
      {"host_memory", "a number above 0", {"47", "0.5"}, {"0", "-1"}},
      {"learning_rate", "a number of at least 0", {"0", "2e-4"}, {"-0.0002", "inf", "1e+39", "x"}},
      {"warmup_steps", "an integer from 0 to 2147483647", {"0", "5"}, {"-1", "2147483648", "0.1"}},
      {"weight_decay", "a number of at least 0", {"0", "0.1"}, {"-0.1"}},
      {"max_grad_norm", "a number of at least 0", {"0", "1"}, {"-1"}},
      {"adam_beta1", "a number of at least 0 and below 1", {"0", "0.9"}, {"1", "2", "-0.5"}},
      {"adam_beta2", "a number of at least 0 and below 1", {"0", "0.999"}, {"1", "-1e-09"}},
      {"adam_epsilon", "a number of at least 0", {"0", "1e-8"}, {"-1e-08"}},
      {"max_steps", "an integer from 1 to 2147483647, or -1", {"1", "-1"}, {"0", "-2"}},
      {"num_train_epochs",
       "a number above 0 and at most 1000000",
       {"0.5", "3"},
       {"0", "-1", "2000000"}},
      {"per_device_train_batch_size", "an integer from 1 to 1048576", {"1", "8"}, {"0", "-1"}},
      {"gradient_accumulation_steps", "an integer from 1 to 1048576", {"1"}, {"0"}},
      {"max_length", "an integer from 2 to 1048576", {"2", "131072"}, {"1", "0", "1048577"}},
      {"seed", "an integer from 0 to 4294967295", {"0", "4294967295"}, {"-1", "4294967296", "1e3"}},
      {"rows", "an integer from 0 to 1048576", {"0", "3"}, {"-1", "1048577"}},
      {"eval_split", "a number of at least 0 and below 1", {"0", "0.1"}, {"1", "-0.1", "nan"}},
      {"eval_steps", "an integer from 1 to 2147483647", {"1", "500"}, {"0", "-1", "0.1"}},
      {"early_stopping_patience", "an integer from 0 to 2147483647", {"0", "3"}, {"-1", "1.5"}},
      {"early_stopping_threshold", "a number of at least 0", {"0", "0.01"}, {"-0.01", "nan"}},
      {"samples", "an integer from 0 to 1048576", {"0", "3"}, {"-1", "1048577"}},
      {"serve", "an integer from 0 to 65535", {"0", "8080"}, {"-1", "65536"}},
      {"save_steps", "an integer from 1 to 2147483647", {"1", "500"}, {"0", "-1"}},
      {"save_minutes", "a number of at least 0", {"0", "0.5"}, {"-1"}},
      {"save_total_limit", "an integer from 0 to 2147483647", {"0", "2"}, {"-1"}},
      {"max_shard_size", "a number above 0 and at most 1000000", {"0.5", "5"}, {"0", "2000000"}},
      {"max_new_tokens", "an integer from 1 to 1048576", {"1"}, {"0", "-5"}},
      {"temperature", "a number of at least 0", {"0", "0.7"}, {"-0.1", "nan"}},
      {"top_k", "an integer of at least 0", {"0", "40"}, {"-1", "1.5"}},
      {"top_p", "a number above 0 and at most 1", {"1", "0.05"}, {"0", "1.01", "-0.5"}},
      {"per_device_eval_batch_size", "an integer from 1 to 1048576", {"1"}, {"0"}},
  };
  return kDomains;
}

std::vector<const OptionSpec*> SpecsOf(std::string_view key) {
  std::vector<const OptionSpec*> specs;
  for (const OptionSpec& spec : AllOptions()) {
    if (spec.key == key) specs.push_back(&spec);
  }
  return specs;
}

std::string RefusalOf(const OptionSpec& spec, const std::string& text) {
  try {
    ValueFromText(spec, text, "--flag");
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(RangeTest, EveryOptionOfNumbersHasADomainHere) {
  std::set<std::string_view> covered;
  for (const Domain& domain : Domains()) covered.insert(domain.key);
  for (const OptionSpec& spec : AllOptions()) {
    const bool is_number = spec.type == OptionType::kInteger || spec.type == OptionType::kNumber ||
                           spec.type == OptionType::kIntegerOrAuto;
    EXPECT_EQ(covered.contains(spec.key), is_number) << spec.key;
  }
}

TEST(RangeTest, ValuesInTheDomainAreTaken) {
  for (const Domain& domain : Domains()) {
    for (const OptionSpec* spec : SpecsOf(domain.key)) {
      for (const std::string& text : domain.good) {
        EXPECT_EQ(RefusalOf(*spec, text), "accepted") << domain.key << " " << text;
      }
    }
  }
}

TEST(RangeTest, ValuesBeyondTheDomainAreRefusedInOneForm) {
  for (const Domain& domain : Domains()) {
    for (const OptionSpec* spec : SpecsOf(domain.key)) {
      for (const std::string& text : domain.bad) {
        const bool or_auto = spec->type == OptionType::kIntegerOrAuto;
        const std::string expected = std::string(domain.expected) + (or_auto ? ", or auto" : "");
        EXPECT_THAT(
            RefusalOf(*spec, text),
            AllOf(StartsWith(fmt::format("--flag: expected {}, got ", expected)), HasSubstr(text)))
            << domain.key;
      }
    }
  }
}

TEST(RangeTest, YamlTakesTheSameChecks) {
  for (const Domain& domain : Domains()) {
    for (const OptionSpec* spec : SpecsOf(domain.key)) {
      for (const std::string& text : domain.bad) {
        const Json value = ParseYaml("key: " + text, "test").at("key");
        EXPECT_THROW(ValueFromYaml(*spec, value, "key"), UsageError) << domain.key << " " << text;
      }
    }
  }
}

TEST(RangeTest, FallbacksLieInTheirRange) {
  for (const OptionSpec& spec : AllOptions()) {
    if (spec.fallback.empty()) continue;
    EXPECT_EQ(RefusalOf(spec, std::string(spec.fallback)), "accepted") << spec.key;
  }
}

}  // namespace
}  // namespace sophia::cli
