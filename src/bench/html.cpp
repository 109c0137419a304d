// A Report as one HTML file that opens without a network, now and in ten years: pictures inline, no
// script, no reference but data: URIs, the JSON inside. It follows the reader's colour scheme,
// reflows on a narrow screen and prints on white with whole tables on a page.
#include <fmt/format.h>

#include "bench/facts.h"
#include "bench/render.h"
#include "bench/sheet.h"
#include "bench/svg.h"
#include "text/text.h"

namespace pagewire::bench {

namespace {

constexpr std::string_view style = R"css(
:root{color-scheme:light dark;--ink:#1b1b1b;--soft:#595959;--rule:#dcdcdc;--back:#ffffff;
--tint:#f4f5f6;--best:#005f45;--warn:#7a3e00;--warn-back:#fff1de}
@media screen and (prefers-color-scheme:dark){:root{--ink:#ececec;--soft:#b4b4b4;--rule:#363b40;
--back:#14171a;--tint:#1d2125;--best:#5fd3ac;--warn:#ffc27a;--warn-back:#3a2810}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1180px;padding:1.5rem 1.25rem 4rem;background:var(--back);
color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",
"DejaVu Sans",sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .25rem}
h2{font-size:1.2rem;margin:2.2rem 0 .5rem;padding-top:.6rem;border-top:1px solid var(--rule)}
h3{font-size:1rem;margin:1.4rem 0 .4rem}
p{margin:.4rem 0}
.soft{color:var(--soft)}
.verdict{font-size:1.1rem;margin:.6rem 0;padding-left:1.2rem}
.verdict li{margin:.2rem 0}
.partial{padding:.6rem .9rem;border-left:4px solid var(--warn);background:var(--warn-back);
color:var(--warn);font-weight:600}
.pictures{display:flex;flex-wrap:wrap;gap:.5rem}
.pictures svg{max-width:100%;height:auto;flex:0 1 auto}
.wide{overflow-x:auto;overflow-wrap:normal}
table{border-collapse:collapse;font-size:.87rem;font-variant-numeric:tabular-nums}
th,td{padding:.28rem .6rem;text-align:right;border-bottom:1px solid var(--rule);
white-space:nowrap;vertical-align:top}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom;background:var(--tint)}
thead th span{display:block;font-weight:400}
.text,tbody th{text-align:left}
tbody th{font-weight:600;min-width:8rem;max-width:22rem;white-space:normal}
.best{color:var(--best);font-weight:700}
.none{color:var(--soft)}
.facts th,.facts td{text-align:left;white-space:normal}
.facts th{width:13rem;font-weight:600}
dl{display:grid;grid-template-columns:minmax(9rem,14rem) 1fr;gap:.3rem 1rem;margin:.5rem 0}
dt{font-weight:600}dd{margin:0}
ul{padding-left:1.2rem}
details{margin:1rem 0}summary{cursor:pointer;font-weight:600}
a{color:inherit}
@media (max-width:560px){body{padding:1rem .8rem 3rem;font-size:14px}dl{grid-template-columns:1fr}
dd{margin-bottom:.5rem}.facts th{width:8rem}}
@media print{@page{margin:14mm}body{max-width:none;padding:0;font-size:10pt}
h2,h3{break-after:avoid}table,svg,.pictures,dl>*{break-inside:avoid}tr{break-inside:avoid}
.wide{overflow:visible}table{font-size:7.2pt}tbody th{min-width:0}
th,td{padding:.15rem .3rem;white-space:normal}
.pictures svg{width:49%}.pictures.curves svg{width:80%}.screen{display:none}h2{break-before:auto}}
)css";

/// `text_columns` of them are text; the first one names the line.
std::string table_of(const Sheet& sheet, std::size_t text_columns) {
  std::string html = "<div class=\"wide\"><table>\n<thead><tr>";
  for (std::size_t i = 0; i < sheet.columns.size(); ++i) {
    const SheetColumn& column = sheet.columns[i];
    html += fmt::format("<th scope=\"col\"{}>{}", i < text_columns ? " class=\"text\"" : "",
                        escape_markup(column.title));
    if (!column.unit.empty()) html += fmt::format("<span>{}</span>", escape_markup(column.unit));
    html += "</th>";
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const auto& line : sheet.lines) {
    html += fmt::format("<tr><th scope=\"row\">{}</th>", escape_markup(line[0].text));
    for (std::size_t i = 1; i < line.size(); ++i) {
      const char* const classes = i < text_columns       ? " class=\"text\""
                                  : line[i].is_best      ? " class=\"best\""
                                  : line[i].is_elsewhere ? " class=\"none\""
                                                         : "";
      html += fmt::format("<td{}>{}</td>", classes, escape_markup(line[i].text));
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string list_of(std::string_view title, const std::vector<std::string>& texts) {
  if (texts.empty()) return {};
  std::string html = fmt::format("<h2>{}</h2>\n<ul>\n", escape_markup(title));
  for (const std::string& text : texts) html += "<li>" + escape_markup(text) + "</li>\n";
  return html + "</ul>\n";
}

std::string facts_of(std::string_view title, const std::vector<NamedText>& facts) {
  if (facts.empty()) return {};
  std::string html = fmt::format("<h2>{}</h2>\n<table class=\"facts\"><tbody>\n", title);
  for (const auto& [name, text] : facts) {
    html += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", escape_markup(name),
                        escape_markup(text));
  }
  return html + "</tbody></table>\n";
}

std::string missing_of(const Report& report) {
  Sheet sheet{
      .title = {}, .columns_are_paths = false, .is_detail = false, .columns = {}, .lines = {}};
  for (const char* title : {"what", "of whom", "why"}) sheet.columns.push_back({title, "", 0});
  for (const Missing& missing : missing_figures(report)) {
    const std::string who = missing.who.empty() ? "all" : missing.who;
    sheet.lines.push_back(
        {{missing.what, false, false}, {who, false, false}, {missing.reason, false, false}});
  }
  if (sheet.lines.empty()) return {};
  return "<h2>What is missing, and why</h2>\n" + table_of(sheet, sheet.columns.size());
}

/// The pictures of all rows; panels wrap on a narrow page, so each is a document of its own.
std::string pictures_of(const Report& report) {
  constexpr const char* prefix = "pw";
  std::string html;
  std::size_t number = 0;
  for (const PanelLine& line : panels_of(report, prefix)) {
    if (!line.heading.empty()) html += "<h3>" + escape_markup(line.heading) + "</h3>\n";
    html += is_sweep(report) ? "<div class=\"pictures curves\">\n" : "<div class=\"pictures\">\n";
    for (const Panel& panel : line.panels) html += svg_of(panel, prefix, ++number);
    html += "</div>\n";
  }
  return html.empty() ? html : "<h2>Pictures</h2>\n" + html;
}

std::string tables_of(const Report& report) {
  std::string html;
  for (const Chapter& chapter : chapters_of(report)) {
    html += "<h2>" + escape_markup(chapter.title) + "</h2>\n";
    for (const Sheet& sheet : chapter.sheets) {
      html += "<h3>" + escape_markup(sheet.title) + "</h3>\n" + table_of(sheet, 1);
    }
    if (chapter.sheets.empty()) html += "<p class=\"soft\">No figures.</p>\n";
  }
  return html;
}

std::string every_metric_of(const Report& report) {
  constexpr std::size_t text_columns = 3;  // metric, unit, source
  std::string html;
  for (const Row& row : report.rows) {
    html += fmt::format("<h3>{}</h3>\n{}", escape_markup(row.title),
                        table_of(every_metric(row), text_columns));
  }
  if (html.empty()) return html;
  return "<details>\n<summary>Every metric with its source</summary>\n" + html + "</details>\n";
}

std::string glossary_list() {
  std::string html = "<h2>What the columns mean</h2>\n<dl>\n";
  for (const auto& [name, text] : glossary()) {
    html += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape_markup(name), escape_markup(text));
  }
  return html + "</dl>\n";
}

/// The whole report for programs: `pagewire bench report` reads the file that the link saves.
std::string json_inside(const Report& report) {
  const std::string json = to_json(report);
  return fmt::format(
      "<p class=\"screen\"><a download=\"bench.json\" href=\"data:application/json;base64,{}\">"
      "All rounds as JSON</a>, for <code>pagewire bench report</code> and "
      "<code>compare</code>.</p>\n"
      "<script type=\"application/json\" id=\"report\">\n{}</script>\n",
      base64(json), escape_json_in_script(json));
}

std::string verdict_list(const Report& report) {
  std::string html;
  for (const std::string& verdict : verdicts_of(report)) {
    html += "<li>" + escape_markup(verdict) + "</li>\n";
  }
  return html.empty() ? html : "<ul class=\"verdict\">\n" + html + "</ul>\n";
}

}  // namespace

std::string to_html(const Report& report) {
  const std::string title = escape_markup(heading_of(report));
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
      "<link rel=\"icon\" "
      "href=\"data:,\">\n<title>{}{}</title>\n<style>{}</style>\n</head>\n<body>\n"
      "<h1>{}</h1>\n<p class=\"soft\">{}</p>\n",
      report.partial ? "PARTIAL: " : "", title, style, title, escape_markup(machine_of(report)));
  if (report.partial) {
    html +=
        fmt::format("<p class=\"partial\">Partial: {}</p>\n", escape_markup(report.partial_reason));
  }
  html += verdict_list(report);
  html += pictures_of(report);
  html += tables_of(report);
  html += list_of("What went wrong", mishaps_of(report));
  html += list_of("Remarks", report.remarks);
  html += list_of("Notes on the machine", report.environment.notes);
  html += missing_of(report);
  html += glossary_list();
  html += facts_of("Machine", environment_of(report));
  html += facts_of("Settings", report.settings);
  html += every_metric_of(report);
  html += json_inside(report);
  return html + "</body>\n</html>\n";
}

}  // namespace pagewire::bench
