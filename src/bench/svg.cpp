#include "bench/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>

#include "bench/facts.h"
#include "bench/format_number.h"
#include "bench/render.h"
#include "bench/sheet.h"
#include "text/text.h"

namespace pagewire::bench {

namespace {

constexpr double margin = 16;
constexpr double heading_height = 30;
constexpr double title_height = 34;

// Okabe and Ito, Color Universal Design (2008); their black is a grey here, which reads on both
// backgrounds and belongs to the baseline. Their yellow comes last: on white it is the weakest.
constexpr std::string_view style_sheet = R"css(
.pw-chart{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",
sans-serif}
.pw-back{fill:#ffffff}
.pw-chart text{fill:#1b1b1b;font-size:12px}
.pw-chart .pw-title text{font-size:17px;font-weight:600}
.pw-chart .pw-h2{font-size:14px;font-weight:600}
.pw-chart .pw-soft{fill:#595959}
.pw-chart .pw-small{font-size:11px}
.pw-rule{stroke:#dcdcdc;stroke-width:1;fill:none}
.pw-axis{stroke:#595959;stroke-width:1;fill:none}
.pw-one{stroke:#1b1b1b;stroke-width:1.5;fill:none}
.pw-whisker{stroke:#1b1b1b;stroke-width:1.5;fill:none}
.pw-halo{stroke:#ffffff;stroke-width:4;stroke-opacity:0.75;fill:none}
.pw-outline{stroke:#1b1b1b;stroke-width:0.75}
.pw-hatch{stroke:#ffffff;stroke-width:1.6;fill:none}
.pw-dot{fill:#ffffff;stroke:none}
.pw-hollow{fill:#ffffff}
.pw-curve{fill:none;stroke-width:2.2;stroke-linejoin:round}
.pw-interval{fill:none;stroke-width:1.3;stroke-opacity:0.6}
.pw-break{fill:none;stroke-width:1.5}
.pw-chart .pw-mark{stroke:#ffffff;stroke-width:4px;paint-order:stroke}
.pw-band{fill-opacity:0.14;stroke:none}
.pw-b0{fill:#6b6b6b}.pw-b1{fill:#e69f00}.pw-b2{fill:#56b4e9}.pw-b3{fill:#009e73}
.pw-b4{fill:#0072b2}.pw-b5{fill:#d55e00}.pw-b6{fill:#cc79a7}.pw-b7{fill:#f0e442}
.pw-c0{stroke:#6b6b6b}.pw-c1{stroke:#e69f00}.pw-c2{stroke:#56b4e9}.pw-c3{stroke:#009e73}
.pw-c4{stroke:#0072b2}.pw-c5{stroke:#d55e00}.pw-c6{stroke:#cc79a7}.pw-c7{stroke:#f0e442}
.pw-d1{stroke-dasharray:9 3}.pw-d2{stroke-dasharray:3 3}.pw-d3{stroke-dasharray:10 3 2 3}
.pw-d4{stroke-dasharray:14 4}
@media screen and (prefers-color-scheme:dark){
.pw-back{fill:#14171a}
.pw-chart text{fill:#ececec}
.pw-chart .pw-soft{fill:#b4b4b4}
.pw-rule{stroke:#363b40}
.pw-axis{stroke:#b4b4b4}
.pw-one,.pw-whisker{stroke:#ececec}
.pw-halo,.pw-hatch,.pw-chart .pw-mark{stroke:#14171a}
.pw-outline{stroke:#ececec}
.pw-dot,.pw-hollow{fill:#14171a}
.pw-b0{fill:#a8a8a8}.pw-c0{stroke:#a8a8a8}
.pw-b4{fill:#2f8fd0}.pw-c4{stroke:#2f8fd0}
}
)css";

/// Lines in the background's colour over a bar, so that two bars of one colour differ.
std::string patterns(const std::string& prefix) {
  constexpr std::array<std::string_view, hatch_count - 1> shapes{
      R"(<path class="pw-hatch" d="M-2 2L2 -2M0 8L8 0M6 10L10 6"/>)",
      R"(<path class="pw-dot" d="M1 1h2.2v2.2h-2.2zM5 5h2.2v2.2h-2.2z"/>)",
      R"(<path class="pw-hatch" d="M-2 6L2 10M0 0L8 8M6 -2L10 2"/>)",
      R"(<path class="pw-hatch" d="M4 0V8"/>)", R"(<path class="pw-hatch" d="M0 4H8M4 0V8"/>)"};
  std::string all;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    all += fmt::format(
        R"(<pattern id="{}-h{}" width="8" height="8" patternUnits="userSpaceOnUse">{}</pattern>)",
        prefix, i + 1, shapes[i]);
  }
  return all;
}

struct Document {
  std::string id;
  std::string title;
  std::string description;
  double width = 0;
  double height = 0;
};

/// What drawings refer to: once in a file, also in an HTML page with several documents.
std::string shared_by_documents(const std::string& prefix) {
  return fmt::format("<style>{}</style>\n<defs>{}</defs>\n", style_sheet, patterns(prefix));
}

std::string document_of(const Document& document, const std::string& shared,
                        const std::string& markup) {
  return fmt::format(
      R"(<svg xmlns="http://www.w3.org/2000/svg" class="pw-chart" width="{0:.0f}" height="{1:.0f}" )"
      R"(viewBox="0 0 {0:.0f} {1:.0f}" role="img" aria-labelledby="{2}-title {2}-desc">)"
      "\n<title id=\"{2}-title\">{3}</title>\n<desc id=\"{2}-desc\">{4}</desc>\n"
      R"({5}<rect class="pw-back" width="{0:.0f}" height="{1:.0f}" rx="6"/>)"
      "\n{6}</svg>\n",
      document.width, document.height, document.id, escape_markup(document.title),
      escape_markup(document.description), shared, markup);
}

double width_of(const PanelLine& line) {
  double width = margin;
  for (const Panel& panel : line.panels) width += panel.width + margin;
  return width;
}

double height_of(const PanelLine& line) {
  double height = 0;
  for (const Panel& panel : line.panels) height = std::max(height, panel.height);
  return height + (line.heading.empty() ? 0 : heading_height) + margin;
}

std::string moved(const Panel& panel, Point to) {
  return fmt::format("<g transform=\"translate({:.1f} {:.1f})\">\n{}</g>\n", to.x, to.y,
                     panel.markup);
}

std::size_t columns_in(double width, double text_size) {
  return static_cast<std::size_t>(width / width_of_text("0", text_size));
}

/// The heading of a line and its panels below the document's end, which moves down.
std::string placed(const PanelLine& line, const std::string& prefix, Document& document) {
  Drawing title(prefix);
  const double top = document.height + (line.heading.empty() ? 0 : heading_height);
  if (!line.heading.empty()) {
    const std::size_t columns = columns_in(document.width - 2 * margin, 14);
    title.text({margin, document.height + 18}, Anchor::Start, "pw-h2",
               cut_to(line.heading, columns));
  }
  std::string markup = title.markup();
  double x = margin;
  for (const Panel& panel : line.panels) {
    markup += moved(panel, {x, top});
    document.description += panel.description + " ";
    x += panel.width + margin;
  }
  document.height += height_of(line);
  return markup;
}

std::vector<PanelLine> panels_of_sweep(const Report& report, const std::string& prefix) {
  PanelLine cpu;
  for (const CurveSpec& spec : {CurveSpec{Metric::CpuMsPerGbit, false, true},
                                CurveSpec{Metric::CpuMsPerGbit, true, true}}) {
    if (has_curve(report, spec)) cpu.panels.push_back(curves(report, spec, prefix));
  }
  PanelLine others;
  for (const CurveSpec& spec : {CurveSpec{Metric::LatencyP99Us, false, false},
                                CurveSpec{Metric::ThroughputGbitPerS, false, false}}) {
    if (has_curve(report, spec)) others.panels.push_back(curves(report, spec, prefix));
  }
  std::vector<PanelLine> lines;
  if (!cpu.panels.empty()) lines.push_back(std::move(cpu));
  if (!others.panels.empty()) lines.push_back(std::move(others));
  return lines;
}

bool has_figure(const Row& row, Metric metric) {
  return std::ranges::any_of(row.contenders, [metric](const Contender& contender) {
    return summary_with_value(contender, metric) != nullptr;
  });
}

}  // namespace

std::string to_svg(const Report& report) {
  const std::string prefix = "pw";
  const std::vector<PanelLine> lines = panels_of(report, prefix);
  Document document{.id = prefix,
                    .title = report.partial ? "PARTIAL, " + heading_of(report) : heading_of(report),
                    .description = lines.empty() ? "There are no figures." : "",
                    .width = 480,
                    .height = margin + title_height};
  for (const PanelLine& line : lines) document.width = std::max(document.width, width_of(line));

  Drawing drawing(prefix);
  const double width = document.width - 2 * margin;
  drawing.text_within({margin, margin + 14}, Anchor::Start, width * 12 / 17, document.title);
  std::string markup = "<g class=\"pw-title\">" + drawing.markup() + "</g>\n";
  for (const PanelLine& line : lines) markup += placed(line, prefix, document);
  Drawing foot(prefix);
  foot.text({margin, document.height + 6}, Anchor::Start, "pw-soft pw-small",
            lines.empty() ? "no figures" : cut_to(machine_of(report), columns_in(width, 11)));
  document.height += margin + 6;
  return document_of(document, shared_by_documents(prefix), markup + foot.markup());
}

std::string svg_of(const Panel& panel, const std::string& prefix, std::size_t number) {
  return document_of({.id = fmt::format("{}-{}", prefix, number),
                      .title = panel.title,
                      .description = panel.description,
                      .width = panel.width + margin,
                      .height = panel.height + margin},
                     number == 1 ? shared_by_documents(prefix) : "",
                     moved(panel, {margin / 2, margin / 2}));
}

std::vector<PanelLine> panels_of(const Report& report, const std::string& prefix) {
  if (is_sweep(report)) return panels_of_sweep(report, prefix);
  std::vector<PanelLine> lines;
  for (const Row& row : report.rows) {
    PanelLine cost{.heading = row.title, .panels = {}};
    for (const Metric metric : {Metric::ThroughputGbitPerS, Metric::CpuMsPerGbit}) {
      if (has_figure(row, metric)) cost.panels.push_back(bars(report, row, metric, prefix));
    }
    PanelLine answers{.heading = cost.panels.empty() ? row.title : "", .panels = {}};
    if (has_figure(row, Metric::LatencyP99Us)) {
      answers.panels.push_back(latencies(report, row, prefix));
    }
    if (has_figure(row, Metric::CpuUsPerRequest)) {
      answers.panels.push_back(bars(report, row, Metric::CpuUsPerRequest, prefix));
    }
    for (PanelLine& line : {std::ref(cost), std::ref(answers)}) {
      if (!line.panels.empty()) lines.push_back(std::move(line));
    }
  }
  return lines;
}

Look look_of(const Report& report, const std::string& contender) {
  const std::vector<std::string> names = contender_names(report);
  const std::string baseline = report.rows.empty() ? "" : report.rows.front().baseline;
  std::size_t place = 0;
  if (contender != baseline) {
    for (const std::string& name : names) {
      if (name != baseline) ++place;
      if (name == contender) break;
    }
  }
  return {.colour = place % colour_count,
          .hatch = place % hatch_count,
          .dash = place % dash_count,
          .marker = place % marker_count};
}

}  // namespace pagewire::bench
