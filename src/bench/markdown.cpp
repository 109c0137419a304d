// A Report as Markdown (CommonMark with GitHub's tables), for docs/results: the tables of the
// terminal, then every metric with its source.
//
// Names and reasons may hold anything: what means something to Markdown or HTML is escaped, and a
// cell never holds a line break or a bare "|".
#include <fmt/format.h>

#include "bench/facts.h"
#include "bench/render.h"
#include "bench/sheet.h"

namespace pagewire::bench {

namespace {

std::string escaped(std::string_view text) {
  constexpr std::string_view special = "\\`*_[]|~#";
  std::string safe;
  for (const char c : text) {
    if (c == '<') {
      safe += "&lt;";
    } else if (c == '>') {
      safe += "&gt;";
    } else if (c == '&') {
      safe += "&amp;";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      safe += ' ';
    } else {
      if (special.find(c) != std::string_view::npos) safe += '\\';
      safe += c;
    }
  }
  return safe;
}

std::string head_of(const SheetColumn& column) {
  return escaped(column.unit.empty() ? column.title : column.title + ", " + column.unit);
}

/// `left` columns are text, the others are numbers and stand on the right.
void write(const Sheet& sheet, std::size_t left, std::string& into) {
  into += "|";
  for (const SheetColumn& column : sheet.columns) into += " " + head_of(column) + " |";
  into += "\n|";
  for (std::size_t i = 0; i < sheet.columns.size(); ++i) into += i < left ? "---|" : "---:|";
  into += "\n";
  for (const auto& line : sheet.lines) {
    into += "|";
    for (const SheetCell& cell : line) {
      const char* const mark = cell.is_best ? "**" : "";
      into += fmt::format(" {}{}{} |", mark, escaped(cell.text), mark);
    }
    into += "\n";
  }
  into += "\n";
}

void write_list(std::string_view title, const std::vector<std::string>& texts, std::string& into) {
  if (texts.empty()) return;
  into += fmt::format("## {}\n\n", title);
  for (const std::string& text : texts) into += "- " + escaped(text) + "\n";
  into += "\n";
}

void write_pairs(std::string_view title, const std::vector<NamedText>& pairs, std::string& into) {
  if (pairs.empty()) return;
  into += fmt::format("## {}\n\n| what | |\n|---|---|\n", title);
  for (const auto& [name, text] : pairs) {
    into += fmt::format("| {} | {} |\n", escaped(name), escaped(text));
  }
  into += "\n";
}

void write_every_metric(const Report& report, std::string& into) {
  constexpr std::size_t text_columns = 3;  // metric, unit, source
  if (report.rows.empty()) return;
  into +=
      "## Every metric\n\nThe median over the rounds, ± half of the 95% confidence interval of "
      "the mean; \"x to y\" is a modelled range.\n\n";
  for (const Row& row : report.rows) {
    into += "### " + escaped(row.title) + "\n\n";
    write(every_metric(row), text_columns, into);
  }
}

}  // namespace

std::string to_markdown(const Report& report) {
  std::string text = "# " + escaped(heading_of(report)) + "\n\n";
  const std::string partial = "**Partial: " + escaped(report.partial_reason) + "**\n\n";
  if (report.partial) text += partial;
  for (const std::string& verdict : verdicts_of(report)) text += "- " + escaped(verdict) + "\n";
  text += "\n";
  for (const Chapter& chapter : chapters_of(report)) {
    text += "## " + escaped(chapter.title) + "\n\n";
    for (const Sheet& sheet : chapter.sheets) {
      text += "### " + escaped(sheet.title) + "\n\n";
      write(sheet, 1, text);
    }
    if (chapter.sheets.empty()) text += "No figures.\n\n";
  }
  write_list("What went wrong", mishaps_of(report), text);
  write_list("What is missing", missing_sentences_of(report), text);
  write_list("Remarks", report.remarks, text);
  write_pairs("Machine", environment_of(report), text);
  write_list("Notes", report.environment.notes, text);
  write_pairs("Settings", report.settings, text);
  write_every_metric(report, text);
  text.pop_back();
  return text;
}

}  // namespace pagewire::bench
