#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

#include "sophia/base/error.h"
#include "sophia/base/file.h"
#include "sophia/base/json.h"
#include "sophia/io/fuzz_for_test.h"
#include "sophia/io/jinja/eval.h"
#include "sophia/io/jinja/lexer.h"

namespace sophia::io::jinja {
namespace {

const std::filesystem::path kFixtures =
    std::filesystem::path(SOPHIA_SOURCE_DIR) / "tests/fixtures/jinja";

// The clock of the fixtures: Sunday, 9 March 2025, 14:05:07.
std::tm FixtureTime() {
  std::tm now{.tm_sec = 7, .tm_min = 5, .tm_hour = 14, .tm_mday = 9, .tm_mon = 2, .tm_year = 125};
  now.tm_wday = 0;
  now.tm_yday = 67;
  return now;
}

Dict ToVariables(const Json& context) {
  Dict variables;
  for (const auto& [key, value] : context.items()) variables.Set(key, FromJson(value));
  return variables;
}

std::string RenderText(std::string_view source, const Json& context = Json::object(),
                       const Limits& limits = {}) {
  const Template parsed = Parse(source, "t");
  return Render(parsed, "t", ToVariables(context), FixtureTime(), limits).text;
}

std::string ErrorOf(std::string_view source, const Json& context = Json::object(),
                    const Limits& limits = {}) {
  try {
    return "no error, but: " + RenderText(source, context, limits).substr(0, 200);
  } catch (const Error& error) {
    return error.what();
  }
}

// Expects what jinja2 gave: the output, or an error, on the same line where it is of the syntax.
void ExpectOutcome(const Json& expected, const std::string& source, const Json& context) {
  if (expected.contains("output")) {
    try {
      EXPECT_EQ(RenderText(source, context), expected["output"].get<std::string>());
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
    return;
  }
  const std::string error = ErrorOf(source, context);
  EXPECT_TRUE(error.starts_with("[t:")) << error << "\njinja2: " << expected["error"];
  if (expected.contains("message")) {
    EXPECT_TRUE(error.ends_with("] " + expected["message"].get<std::string>())) << error;
  }
  if (expected["error"] == "syntax" && !source.starts_with("{{") && !source.starts_with("{%")) {
    EXPECT_TRUE(error.starts_with(fmt::format("[t:{}]", expected["line"].get<int>()))) << error;
  }
}

TEST(Jinja, ExpressionsRenderAsJinja2) {
  const Json fixture = ReadJson(kFixtures / "expressions.json");
  ASSERT_GE(fixture["cases"].size(), 200u);
  for (const Json& expected : fixture["cases"]) {
    const std::string source = expected["template"];
    SCOPED_TRACE(source);
    ExpectOutcome(expected, source, fixture["context"]);
  }
}

TEST(Jinja, TemplateFamiliesRenderAsJinja2) {
  const Json fixture = ReadJson(kFixtures / "families.json");
  ASSERT_GE(fixture["cases"].size(), 500u);
  for (const Json& expected : fixture["cases"]) {
    const std::string name = expected["template"];
    const std::string conversation = expected["conversation"];
    SCOPED_TRACE(fmt::format("{} on {}", name, conversation));
    Json context = {{"documents", nullptr}, {"tools", nullptr}};
    context.update(fixture["conversations"][conversation]);
    context.update(fixture["tokens"]);
    if (fixture["token_overrides"].contains(name)) context.update(fixture["token_overrides"][name]);
    if (expected.contains("extra")) context.update(expected["extra"]);
    context["add_generation_prompt"] = expected["add_generation_prompt"];
    ExpectOutcome(expected, ReadFile(kFixtures / "templates" / (name + ".jinja")), context);
  }
}

TEST(Jinja, ReportsWhatGenerationTagsRendered) {
  const Template parsed = Parse(
      "{% for x in ['a', 'bc'] %}<{% generation %}{{ x }}!{% endgeneration %}>{% endfor %}", "t");
  EXPECT_TRUE(parsed.has_generation);
  const Rendering rendering = Render(parsed, "t", {}, FixtureTime(), {});
  EXPECT_EQ(rendering.text, "<a!><bc!>");
  const std::vector<std::pair<size_t, size_t>> spans = {{1, 3}, {5, 8}};
  EXPECT_EQ(rendering.generations, spans);
}

TEST(Jinja, ErrorsNameTemplateAndLine) {
  EXPECT_EQ(ErrorOf("a\n\n{{ raise_exception('no ' ~ 1) }}"), "[t:3] no 1");
  EXPECT_EQ(ErrorOf("a\n{% if x.y.z %}{% endif %}", {{"x", Json::object()}}),
            "[t:2] 'dict object' has no attribute 'y'");
  EXPECT_EQ(ErrorOf("{{ nope.x }}"), "[t:1] 'nope' is undefined");
  EXPECT_EQ(ErrorOf("\n{{ 'x' | uper }}"),
            "[t:2] expected a known filter, got 'uper' (did you mean 'upper'?)");
  EXPECT_EQ(ErrorOf("\n{{ '\\ud800' }}"),
            "[t:2] expected a Unicode character in a string escape, got 'd800'");
  EXPECT_EQ(ErrorOf("\n{{ '\\N{BULLET}' }}"),
            "[t:2] expected an escape other than \\N in a string");
  EXPECT_EQ(ErrorOf("{% if x %}\n{{ 1"),
            "[t:2] expected the end of the tag, '}}', got the end of "
            "the template");
  EXPECT_EQ(ErrorOf("{% if x %}\na"),
            "[t:2] expected '{% elif' or 'else' or 'endif %}', got the end of the template");
  for (const char* tag : {"include 'x'", "import 'x' as y", "extends 'x'", "block b"}) {
    EXPECT_TRUE(ErrorOf(fmt::format("{{% {} %}}", tag)).starts_with("[t:1] expected a tag that"));
  }
  EXPECT_TRUE(ErrorOf("{{ x.append(1) }}", {{"x", Json::array()}})
                  .ends_with("access to attribute 'append' of 'list' object is unsafe."));
}

TEST(Jinja, HostileTemplatesEndWithAnError) {
  const Limits limits{.work = 1 << 20, .output = 1 << 16};
  const std::string loop = "{% for a in range(100000) %}{% for b in range(100000) %}";
  const std::vector<std::string> hostile = {
      loop + "{% endfor %}{% endfor %}",
      loop + "xxxxxxxx{% endfor %}{% endfor %}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
      "{% set n = namespace(x=1) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}",
      "{% set ns = namespace(x=1) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}{% endfor %}",
      "{{ 'x' * 99999999999 }}",
      "{{ [1] * 99999999999 }}",
      "{{ 'a' | center(99999999999) }}",
      "{{ '%99999999999d' % 1 }}",
      "{{ '{:99999999999}'.format(1) }}",
      "{{ 'a' | indent(99999999999, true) }}",
      "{{ 'aaaaaaaaaaaaaaaa' | replace('a', 'b' * 100000) | replace('b', 'c' * 100000) }}",
      "{{ [[[1]]] | tojson(indent=99999999999) }}",
      "{{ 9 ** 9 ** 9 }}",
      "{{ 2 ** 999 }}",
      "{{ range(99999999999) }}",
      "{{ [1] | batch(99999999999, 0) | list }}",
      "{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}",
      "{{ " + std::string(5000, '-') + "1 }}",
      "{{ 1" + std::string(5000, '.') + " }}",
  };
  for (const std::string& source : hostile) {
    SCOPED_TRACE(source.substr(0, 120));
    EXPECT_TRUE(ErrorOf(source, Json::object(), limits).starts_with("[t:"));
  }
  std::string chain = "{{ 1";
  std::string nested;
  for (int i = 0; i < 5000; ++i) {
    chain += " + 1";
    nested += "{% if 1 %}";
  }
  EXPECT_TRUE(ErrorOf(chain + " }}").starts_with("[t:1] expected an expression at most"));
  EXPECT_TRUE(ErrorOf(nested).starts_with("[t:1] expected at most"));
  std::string maps = "{{ 'a' | map(";
  for (int i = 0; i < 5000; ++i) maps += "'map', ";
  EXPECT_TRUE(ErrorOf(maps + "'upper') | list }}").starts_with("[t:1] expected at most"));
}

TEST(Jinja, SurvivesMutatedTemplates) {
  const Json fixture = ReadJson(kFixtures / "families.json");
  const Json expressions = ReadJson(kFixtures / "expressions.json");
  std::vector<std::string> valid;
  for (const auto& entry : std::filesystem::directory_iterator(kFixtures / "templates")) {
    valid.push_back(ReadFile(entry.path()));
  }
  std::sort(valid.begin(), valid.end());
  for (const Json& expected : expressions["cases"]) valid.push_back(expected["template"]);
  Json context = expressions["context"];
  context.update(fixture["conversations"]["tools"]);
  context.update(fixture["tokens"]);
  const Mutator mutator(7, {"{{",          "}}",          "{%",
                            "%}",          "{#",          "#}",
                            "-",           "+",           "|",
                            "(",           ")",           "[",
                            "]",           "'",           "\"",
                            "\\",          "\n",          " if ",
                            " else ",      " for ",       " in ",
                            " is ",        "~",           "**",
                            "99999999999", "{% set x = ", "{% endfor %}",
                            "{% raw %}",   "namespace(",  "loop.",
                            ".items()",    "[::-1]",      "range(",
                            "\xE2\x82"});
  const Limits limits{.work = 1 << 16, .output = 1 << 16};
  const FuzzCounts counts = FuzzParser(valid, 30000, mutator, [&](const std::string& source) {
    RenderText(source, context, limits);
  });
  EXPECT_GT(counts.accepted, 0);
  EXPECT_GT(counts.rejected, 0);
}

}  // namespace
}  // namespace sophia::io::jinja
