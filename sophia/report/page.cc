#include "sophia/report/page.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "sophia/base/sha256.h"
#include "sophia/base/strings.h"
#include "sophia/report/html.h"
#include "sophia/report/page_parts.h"
#include "sophia/report/plot.h"

namespace sophia::report {
namespace {

constexpr size_t kLongestSample = 4000;

struct PlotSpec {
  std::string_view title;
  Unit unit;
  std::array<std::string_view, 2> keys;  // of metrics.jsonl; the second may be empty
};

constexpr auto kPlots = std::to_array<PlotSpec>({
    {"Loss", Unit::kPlain, {"loss", "eval_loss"}},
    {"Learning rate", Unit::kPlain, {"learning_rate", ""}},
    {"Gradient norm", Unit::kPlain, {"grad_norm", ""}},
    {"Tokens a second", Unit::kCount, {"tokens_per_second", ""}},
    {"FLOP/s", Unit::kCount, {"flops_per_second", ""}},
    {"Seconds a step, and waiting for data", Unit::kPlain, {"step_seconds", "data_wait_seconds"}},
    {"Memory in bytes", Unit::kBytes, {"host_memory_bytes", "device_memory_bytes"}},
});

std::string TextOf(const Json& object, std::string_view key) {
  if (!object.is_object() || !object.contains(key) || !object[key].is_string()) return "";
  return object[key].get<std::string>();
}

std::optional<double> NumberOf(const Json& object, std::string_view key) {
  if (!object.is_object() || !object.contains(key) || !object[key].is_number()) return std::nullopt;
  return object[key].get<double>();
}

std::string Section(std::string_view title, const std::string& content) {
  return fmt::format("<section><h2>{}</h2>\n{}</section>\n", title, content);
}

std::string Folded(std::string_view id, std::string_view title, const std::string& content) {
  return fmt::format("<details id=\"{}\"><summary>{}</summary>\n{}</details>\n", id, title,
                     content);
}

std::string LastWritten(const RunFiles& files) {
  std::error_code error;
  const auto written = std::filesystem::last_write_time(files.folder() / "metrics.jsonl", error);
  if (error) return "no metrics yet";
  const auto time = std::chrono::file_clock::to_sys(written);
  return fmt::format("metrics written {:%Y-%m-%d %H:%M:%S} UTC",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(
                         std::chrono::time_point_cast<std::chrono::system_clock::duration>(time))));
}

std::string State(const RunFiles& files, bool live) {
  std::string state = TextOf(files.run(), "state");
  if (state.empty()) state = "unknown";
  // A run that was killed could not say so.
  if (state == "running" && !live) state = "not finished";
  std::string text = fmt::format("<p><strong id=\"state\">{}</strong>, {}</p>\n", Escape(state),
                                 LastWritten(files));
  const std::string reason = TextOf(files.run(), "reason");
  if (!reason.empty()) text += fmt::format("<p class=\"bad\">{}</p>\n", EscapeStart(reason, 2000));
  return text;
}

std::string Number(std::string_view format, const std::optional<double>& number) {
  return number ? fmt::format(fmt::runtime(format), *number) : "–";
}

std::string Sized(const std::optional<double>& number, std::string_view unit) {
  return number ? HumanCount(*number) + std::string(unit) : "–";
}

std::string Tiles(const RunFiles& files) {
  const Json& last = files.metrics().last;
  const auto tile = [](std::string_view name, const std::string& value) {
    return fmt::format("<div><dt>{}</dt><dd id=\"now-{}\">{}</dd></div>\n", name,
                       ReplaceAll(std::string(name), " ", "-"), Escape(value));
  };
  const auto number = [&](std::string_view key) { return NumberOf(last, key); };
  return "<dl>\n" +
         tile("step", Number("{:.0f}", number("step")) + " of " +
                          Number("{:.0f}", NumberOf(files.run(), "total_steps"))) +
         tile("loss", Number("{:.4f}", number("loss"))) +
         tile("learning rate", Number("{:.3g}", number("learning_rate"))) +
         tile("gradient norm", Number("{:.3g}", number("grad_norm"))) +
         tile("speed", Number("{:.0f} tokens/s", number("tokens_per_second"))) +
         tile("arithmetic", Sized(number("flops_per_second"), "FLOP/s")) +
         tile("host memory", Sized(number("host_memory_bytes"), "B")) +
         tile("device memory", Sized(number("device_memory_bytes"), "B")) +
         tile("seconds left", Number("{:.0f}", number("eta_seconds"))) + "</dl>\n";
}

std::string Plots(const Metrics& metrics) {
  static const std::vector<Point> kNone;
  std::string plots;
  for (const PlotSpec& spec : kPlots) {
    std::vector<Line> lines;
    for (const std::string_view key : spec.keys) {
      const auto found = metrics.series.find(key);
      const std::vector<Point>& points = found == metrics.series.end() ? kNone : found->second;
      const bool has_values =
          std::ranges::any_of(points, [](const Point& one) { return std::isfinite(one.value); });
      if (has_values || key == spec.keys[0]) lines.push_back({key, &points});
    }
    plots += Plot(spec.title, spec.unit, lines);
  }
  return "<div class=\"plots\">\n" + plots + "</div>\n";
}

// Why base weights of a run in this state were not compared yet, or at all.
std::string_view NotCompared(std::string_view state) {
  if (state == "running") return "compared when the run ends";
  if (state == "stopped") return "not compared: the run was stopped";
  if (state == "failed") return "not compared: the run failed";
  return "not compared";
}

std::string BaseProof(const Json& run) {
  const Json base = run.is_object() && run.contains("base_weights") ? run["base_weights"] : Json();
  const std::string before = TextOf(base, "sha256_before");
  const std::string after = TextOf(base, "sha256_after");
  if (before.empty()) return "<p id=\"proof\">Not recorded.</p>\n";
  const std::string count = Number("{:.0f}", NumberOf(base, "tensors"));
  std::string text;
  if (after.empty()) {
    text = fmt::format("<p id=\"proof\">{} base weights; {}.</p>\n", count,
                       NotCompared(TextOf(run, "state")));
  } else if (after == before) {
    text = fmt::format(
        "<p id=\"proof\" class=\"good\">None of {} base weights moved: one SHA-256 over all of "
        "them, "
        "as the device held them.</p>\n",
        count);
  } else {
    text = fmt::format("<p id=\"proof\" class=\"bad\">Base weights moved: {}</p>\n",
                       EscapeStart(Dump(base.value("moved", Json())), 2000));
  }
  Json digests = {{"before", before}};
  if (!after.empty()) digests["after"] = after;
  return text + Table(digests);
}

std::string Samples(const std::vector<Sample>& samples) {
  std::string rows = "<tr><th>prompt</th><th>expected</th><th>before</th><th>after</th></tr>\n";
  for (const Sample& sample : samples) {
    rows += "<tr>";
    for (const std::string* text :
         {&sample.prompt, &sample.expected, &sample.before, &sample.after}) {
      rows += fmt::format("<td><pre>{}</pre></td>", EscapeStart(*text, kLongestSample));
    }
    rows += "</tr>\n";
  }
  return "<table class=\"samples\">\n" + rows + "</table>\n";
}

std::string Problems(const std::vector<std::string>& problems) {
  std::string items;
  for (const std::string& problem : problems) {
    items += fmt::format("<li>{}</li>\n", EscapeStart(problem, 2000));
  }
  return "<ul class=\"bad\">\n" + items + "</ul>\n";
}

std::string HashSource(std::string_view text) {
  const std::string hex = Sha256Hex(text);
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return "'sha256-" + Base64(bytes) + "'";
}

std::string Name(const RunFiles& files) {
  const std::filesystem::path folder = std::filesystem::absolute(files.folder()).lexically_normal();
  return (folder.has_filename() ? folder : folder.parent_path()).filename().string();
}

}  // namespace

std::string SecurityPolicy(bool live) {
  std::string policy = "default-src 'none'; style-src " + HashSource(kStyle);
  if (live) policy += "; script-src " + HashSource(kScript) + "; connect-src 'self'";
  return policy + "; base-uri 'none'; form-action 'none'";
}

std::string Body(const RunFiles& files, bool live) {
  std::string body = fmt::format("<h1>{}</h1>\n", EscapeStart(Name(files), 200)) +
                     State(files, live) + Tiles(files);
  if (!files.problems().empty()) body += Section("Problems", Problems(files.problems()));
  body += Plots(files.metrics()) + Section("Base weights", BaseProof(files.run()));
  if (!files.samples().empty()) body += Section("Answers", Samples(files.samples()));
  std::string tables;
  if (files.options().is_object()) tables += Folded("options", "Options", Table(files.options()));
  if (files.plan().is_object()) tables += Folded("plan", "Plan", Table(files.plan()));
  if (files.run().is_object()) tables += Folded("run", "Run", Table(files.run()));
  return tables.empty() ? body : body + Section("Configuration", tables);
}

std::string StartingBody(const RunFiles& files) {
  return fmt::format("<h1>{}</h1>\n<p><strong id=\"state\">starting</strong>, no step yet</p>\n",
                     EscapeStart(Name(files), 200));
}

std::string Page(const RunFiles& files, bool live) {
  return PageAround(Body(files, live), files, live);
}

std::string PageAround(std::string_view body, const RunFiles& files, bool live) {
  std::string head = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n"
      "<meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n",
      SecurityPolicy(live), EscapeStart(Name(files), 200));
  head += fmt::format("<style>{}</style>\n</head>\n", kStyle);
  std::string page = fmt::format("{}<body>\n<main>\n{}</main>\n", head, body);
  if (live) page += fmt::format("<p id=\"link\"></p>\n<script>{}</script>\n", kScript);
  return page + "</body>\n</html>\n";
}

}  // namespace sophia::report
