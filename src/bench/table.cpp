// A Report for a terminal: which machine, a few tables for each row, what is missing and why.
//
// No line is longer than the terminal: the least important columns go first, and a last line names
// them. Names and reasons come from files and may hold anything; what could steer a terminal is
// replaced before it gets there.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "bench/facts.h"
#include "bench/format_number.h"
#include "bench/render.h"
#include "bench/sheet.h"

namespace pagewire::bench {

namespace {

constexpr std::size_t gap = 2;
constexpr std::size_t least_columns = 40;  ///< below this, lines are longer than the terminal

enum class Style : std::uint8_t { Plain, Heading, Dim, Best, Warning };

const char* escape_of(Style style) {
  switch (style) {
    case Style::Plain:
      return "";
    case Style::Heading:
      return "\x1b[1m";
    case Style::Dim:
      return "\x1b[2m";
    case Style::Best:
      return "\x1b[32m";
    case Style::Warning:
      return "\x1b[1;33m";
  }
  return "";
}

bool steers_a_terminal(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

class Table {
 public:
  explicit Table(const TableOptions& options)
      : columns_(std::max(options.columns, least_columns)), colour_(options.colour) {}

  void line(std::string_view text, Style style = Style::Plain) {
    text_ += styled(text, style) + "\n";
  }
  /// Broken at spaces; all but the first line are indented.
  void wrapped(std::string_view text, Style style = Style::Plain) {
    const char* indent = "";
    for (const std::string& part : wrap(text, columns_ - gap)) {
      line(indent + part, style);
      indent = "  ";
    }
  }
  /// A heading and what stands below it; nothing when there is nothing.
  void listing(std::string_view title, const std::vector<std::string>& texts) {
    if (texts.empty()) return;
    line("");
    line(title, Style::Heading);
    for (const std::string& text : texts) wrapped(text);
  }
  void sheet(Sheet sheet);

  std::string text() && { return std::move(text_); }
  std::vector<std::string> dropped() const { return {dropped_.begin(), dropped_.end()}; }

 private:
  std::string styled(std::string_view text, Style style) const;
  std::vector<std::size_t> widths_of(const Sheet& sheet) const;
  std::size_t width_of(const Sheet& sheet) const;
  Sheet rest_of(Sheet& sheet) const;
  void drop_what_does_not_fit(Sheet& sheet);
  void head_line(const Sheet& sheet, std::string SheetColumn::*text);
  void body_line(const Sheet& sheet, const std::vector<SheetCell>& cells);

  std::size_t columns_;
  bool colour_;
  std::set<std::string> dropped_;
  std::string text_;
};

std::string Table::styled(std::string_view text, Style style) const {
  std::string clean(text);
  std::ranges::replace_if(clean, steers_a_terminal, ' ');
  if (!colour_ || style == Style::Plain) return clean;
  return escape_of(style) + clean + "\x1b[0m";
}

std::vector<std::size_t> Table::widths_of(const Sheet& sheet) const {
  std::vector<std::size_t> widths;
  for (const SheetColumn& column : sheet.columns) {
    widths.push_back(std::max(columns_of(column.title), columns_of(column.unit)));
  }
  for (const auto& line : sheet.lines) {
    for (std::size_t i = 0; i < line.size(); ++i) {
      widths[i] = std::max(widths[i], columns_of(line[i].text));
    }
  }
  // A long name must not push the figures out.
  widths[0] = std::min(widths[0], std::max<std::size_t>(columns_ / 4, 12));
  return widths;
}

std::size_t Table::width_of(const Sheet& sheet) const {
  std::size_t sum = 0;
  for (const std::size_t width : widths_of(sheet)) sum += width + gap;
  return sum - gap;
}

void remove_column(Sheet& sheet, std::size_t column) {
  const auto at = static_cast<std::ptrdiff_t>(column);
  sheet.columns.erase(sheet.columns.begin() + at);
  for (auto& line : sheet.lines) line.erase(line.begin() + at);
}

void Table::drop_what_does_not_fit(Sheet& sheet) {
  while (sheet.columns.size() > 2 && width_of(sheet) > columns_) {
    std::size_t least = 1;
    for (std::size_t i = 1; i < sheet.columns.size(); ++i) {
      if (sheet.columns[i].importance <= sheet.columns[least].importance) least = i;
    }
    dropped_.insert(sheet.columns[least].title);
    remove_column(sheet, least);
  }
}

/// Leaves in `sheet` what fits; returns the first column with the others.
Sheet Table::rest_of(Sheet& sheet) const {
  Sheet rest = sheet;
  while (sheet.columns.size() > 2 && width_of(sheet) > columns_) {
    remove_column(sheet, sheet.columns.size() - 1);
  }
  for (std::size_t i = 1; i < sheet.columns.size(); ++i) remove_column(rest, 1);
  return rest;
}

std::string padding(std::size_t width, std::string_view text) {
  return std::string(width - std::min(width, columns_of(text)), ' ');
}

void Table::head_line(const Sheet& sheet, std::string SheetColumn::*text) {
  const std::vector<std::size_t> widths = widths_of(sheet);
  std::string head = sheet.columns[0].*text + padding(widths[0], sheet.columns[0].*text);
  bool is_empty = (sheet.columns[0].*text).empty();
  for (std::size_t i = 1; i < sheet.columns.size(); ++i) {
    const std::string& title = sheet.columns[i].*text;
    head += std::string(gap, ' ') + padding(widths[i], title) + title;
    is_empty = is_empty && title.empty();
  }
  if (is_empty) return;
  line(head.substr(0, head.find_last_not_of(' ') + 1), Style::Dim);
}

void Table::body_line(const Sheet& sheet, const std::vector<SheetCell>& cells) {
  const std::vector<std::size_t> widths = widths_of(sheet);
  const std::string name = cut_to(cells[0].text, widths[0]);
  std::string text = styled(name, Style::Plain) + padding(widths[0], name);
  for (std::size_t i = 1; i < cells.size(); ++i) {
    const SheetCell& cell = cells[i];
    const Style style = cell.is_best ? Style::Best : cell.is_elsewhere ? Style::Dim : Style::Plain;
    text += std::string(gap, ' ') + padding(widths[i], cell.text) + styled(cell.text, style);
  }
  text_ += text + "\n";
}

void Table::sheet(Sheet sheet) {
  line("");
  line(sheet.title, Style::Heading);
  Sheet rest;
  if (sheet.columns_are_paths) {
    rest = rest_of(sheet);
  } else {
    drop_what_does_not_fit(sheet);
  }
  head_line(sheet, &SheetColumn::title);
  head_line(sheet, &SheetColumn::unit);
  for (const auto& cells : sheet.lines) body_line(sheet, cells);
  if (rest.columns.size() > 1) this->sheet(std::move(rest));
}

// ---------------------------------------------------------------- the report

/// In a few lines what JSON and HTML have a table for.
void write_environment(const Report& report, Table& table) {
  const Environment& environment = report.environment;
  const auto known = [](const std::string& text) { return text.empty() ? "unknown" : text; };
  std::map<std::string, std::string> facts;
  for (auto& [name, text] : environment_of(report)) facts[name] = text;
  table.wrapped(
      fmt::format("pagewire {}, {}, Linux {}", facts["pagewire"], facts["date"], facts["kernel"]));
  table.wrapped(fmt::format("{}; clock {}", facts["CPU"], facts["clock source"]));
  table.wrapped("IRQ_TIME_ACCOUNTING " + facts["IRQ_TIME_ACCOUNTING"]);
  table.wrapped(fmt::format("filesystem {}; network {}", known(environment.filesystem),
                            known(environment.network)));
  if (!environment.offloads.empty()) table.wrapped("offloads " + facts["offloads"]);
  table.wrapped("load " + facts["load"]);
  if (facts.contains("command")) table.wrapped("command " + facts["command"]);
  for (const std::string& note : environment.notes) table.wrapped("note: " + note);
}

}  // namespace

std::string to_table(const Report& report, const TableOptions& options) {
  Table table(options);
  table.wrapped(heading_of(report), Style::Heading);
  if (report.partial) table.wrapped("PARTIAL: " + report.partial_reason, Style::Warning);
  write_environment(report, table);
  for (const Chapter& chapter : chapters_of(report)) {
    table.line("");
    table.wrapped("== " + chapter.title, Style::Heading);
    for (const Sheet& sheet : chapter.sheets) {
      if (!sheet.is_detail) table.sheet(sheet);
    }
    if (chapter.sheets.empty()) table.line("no figures");
  }
  table.line("");
  table.wrapped("± is half of the 95% confidence interval of the mean over the rounds", Style::Dim);
  table.listing("what it says", verdicts_of(report));
  table.listing("what went wrong", mishaps_of(report));
  table.listing("what is missing", missing_sentences_of(report));
  table.listing("remarks", report.remarks);
  if (const auto dropped = table.dropped(); !dropped.empty()) {
    table.line("");
    table.wrapped(
        fmt::format("no room for: {}; --html and --md have everything", fmt::join(dropped, ", ")),
        Style::Dim);
  }
  if (report.partial) table.wrapped("PARTIAL: " + report.partial_reason, Style::Warning);
  return std::move(table).text();
}

}  // namespace pagewire::bench
