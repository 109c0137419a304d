// A comparison for a terminal: one table per row of the reports, then what else differs.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "bench/compare.h"
#include "bench/format_number.h"

namespace pagewire::bench {

namespace {

constexpr std::size_t column_count = 7;
constexpr std::size_t interval_column = 5;
constexpr std::size_t first_number_column = 2;
using Line = std::array<std::string, column_count>;

std::string percent_text(double share) {
  if (std::isinf(share)) return "from none";
  return fmt::format("{:+.1f} %", share * 100);
}

std::string interval_text(const std::optional<Bounds>& interval) {
  if (!interval) return "-";
  return fmt::format("{:+.1f} .. {:+.1f} %", interval->low * 100, interval->high * 100);
}

std::string_view verdict_text(Verdict verdict) {
  switch (verdict) {
    case Verdict::Same:
      return "same";
    case Verdict::Better:
      return "better";
    case Verdict::Worse:
      return "WORSE";
    case Verdict::WithinNoise:
      return "within the noise";
    case Verdict::NotJudged:
      return "not judged";
  }
  return "";
}

Line line_of(const Change& change) {
  const MetricInfo& metric = info(change.metric);
  std::string title(metric.title);
  const std::string_view unit = unit_beside(change.metric);
  if (!unit.empty()) title += fmt::format(", {}", unit);
  return {change.name,
          std::move(title),
          format_figure(change.metric, change.before),
          format_figure(change.metric, change.after),
          percent_text(change.relative),
          interval_text(change.ci95),
          std::string(verdict_text(change.verdict))};
}

/// Columns of text to the left, of numbers to the right, two blanks between.
std::string aligned(const std::vector<Line>& lines, bool with_interval) {
  std::array<std::size_t, column_count> widths{};
  for (const Line& line : lines) {
    for (std::size_t i = 0; i < column_count; ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::string text;
  for (const Line& line : lines) {
    std::string row;
    for (std::size_t i = 0; i < column_count; ++i) {
      if (i == interval_column && !with_interval) continue;
      const bool number = i >= first_number_column && i + 1 < column_count;
      row += number ? fmt::format("{:>{}}  ", line[i], widths[i])
                    : fmt::format("{:<{}}  ", line[i], widths[i]);
    }
    row.erase(row.find_last_not_of(' ') + 1);
    text += row + "\n";
  }
  return text;
}

std::size_t longest_line(std::string_view text) {
  std::size_t longest = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    longest = std::max(longest, std::min(end, text.size()));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return longest;
}

/// The changes of one row; a narrow terminal does without the intervals, the verdict says as much.
std::string table_of_row(const std::string& row, const std::vector<Change>& changes,
                         std::size_t columns) {
  std::vector<Line> lines = {{"path", "figure", "before", "after", "change", "95% interval", ""}};
  for (const Change& change : changes) {
    if (change.row == row) lines.push_back(line_of(change));
  }
  std::string table = aligned(lines, true);
  if (longest_line(table) > columns) table = aligned(lines, false);
  return row + "\n" + table + "\n";
}

std::string outcome_of(const Comparison& comparison) {
  std::size_t worse = 0;
  std::size_t better = 0;
  std::size_t unsure = 0;
  for (const Change& change : comparison.changes) {
    worse += change.verdict == Verdict::Worse ? 1 : 0;
    better += change.verdict == Verdict::Better ? 1 : 0;
    unsure += change.verdict == Verdict::WithinNoise ? 1 : 0;
  }
  std::string text =
      fmt::format("{} of {} figures got worse, {} better, beyond the threshold and the noise.\n",
                  worse, comparison.changes.size(), better);
  if (unsure > 0) {
    text +=
        fmt::format("Of {} nothing can be said: the noise is larger than the threshold.\n", unsure);
  }
  return text;
}

}  // namespace

std::string to_table(const Comparison& comparison, std::size_t columns) {
  std::string text;
  std::vector<std::string> done;
  for (const Change& change : comparison.changes) {
    if (std::find(done.begin(), done.end(), change.row) != done.end()) continue;
    done.push_back(change.row);
    text += table_of_row(change.row, comparison.changes, columns);
  }
  text += outcome_of(comparison);
  if (comparison.differences.empty()) return text;
  text += "\nWhat else differs:\n";
  for (const std::string& difference : comparison.differences) text += "  " + difference + "\n";
  return text;
}

}  // namespace pagewire::bench
