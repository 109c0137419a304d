// A Report as tidy CSV: one line per row x contender x round x metric, so that any tool can filter
// and group without knowing us.
//
// RFC 4180, with LF at the end of a line (what RFC 4180 tools on Linux write and read) and a head
// line. A value that is not known is an empty field with its reason beside it. A contender that was
// not run, and a round that failed, have a line without a metric that says why.
#include <fmt/format.h>

#include <cmath>

#include "bench/render.h"

namespace pagewire::bench {

namespace {

constexpr std::string_view head =
    "kind,row,size_bytes,connections,mode,offered_gbit_per_s,contender,round,instrumented,metric,"
    "unit,value,low,high,source,reason\n";

/// Quoted when it has to be; a quote inside is doubled (RFC 4180, section 2).
std::string field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

/// The shortest text that reads back as the same number.
std::string number(std::optional<double> value) {
  return value && std::isfinite(*value) ? fmt::format("{}", *value) : "";
}

std::string start_of_line(const Report& report, const Row& row, const Contender& contender) {
  return fmt::format("{},{},{},{},{},{},{}", field(report.kind), field(row.title), row.size_bytes,
                     row.connections, field(row.mode), number(row.offered_gbit_per_s),
                     field(contender.name));
}

std::string start_of_line(const std::string& contender, const Round& round) {
  return fmt::format("{},{},{}", contender, round.number, round.instrumented ? "true" : "false");
}

std::string line_of(const std::string& start, const MetricInfo& metric, const Figure& figure) {
  const std::string what = fmt::format("{},{},{}", start, metric.name, field(metric.unit));
  const std::string value = number(figure.value);
  if (value.empty()) {
    const std::string reason = figure.value ? "the value is not a finite number" : figure.reason;
    return fmt::format("{},,,,,{}\n", what, field(reason));
  }
  const std::string low = figure.range ? number(figure.range->low) : "";
  const std::string high = figure.range ? number(figure.range->high) : "";
  return fmt::format("{},{},{},{},{},\n", what, value, low, high, name_of(figure.source));
}

void write(const std::string& contender, const Round& round, std::string& csv) {
  const std::string start = start_of_line(contender, round);
  if (!round.failed.empty()) csv += start + ",,,,,,," + field(round.failed) + "\n";
  for (const auto& [metric, figure] : round.figures) csv += line_of(start, info(metric), figure);
}

}  // namespace

std::string to_csv(const Report& report) {
  std::string csv(head);
  for (const Row& row : report.rows) {
    for (const Contender& contender : row.contenders) {
      const std::string start = start_of_line(report, row, contender);
      if (!contender.unavailable.empty()) {
        csv += start + ",,,,,,,,," + field(contender.unavailable) + "\n";
      }
      for (const Round& round : contender.rounds) write(start, round, csv);
    }
  }
  return csv;
}

}  // namespace pagewire::bench
