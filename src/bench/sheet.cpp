#include "bench/sheet.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "bench/format_number.h"

namespace pagewire::bench {

namespace {

constexpr const char* not_there = "n/a";

enum class Show : std::uint8_t {
  Value,
  WithInterval,  ///< and half of the confidence interval
  Ratio,         ///< to the baseline's
};

struct ColumnSpec {
  Metric metric;
  Show show;
  const char* title;  ///< "": that of the metric
  int importance;     ///< 9 stays to the last
};

constexpr std::array bill{
    ColumnSpec{Metric::ThroughputGbitPerS, Show::WithInterval, "throughput", 8},
    ColumnSpec{Metric::RequestsPerS, Show::Value, "requests", 5},
    ColumnSpec{Metric::CpuPercent, Show::Value, "CPU", 7},
    ColumnSpec{Metric::CpuUserPercent, Show::Value, "user", 3},
    ColumnSpec{Metric::CpuSystemPercent, Show::Value, "system", 5},
    ColumnSpec{Metric::CpuSoftirqPercent, Show::Value, "softirq", 4},
    ColumnSpec{Metric::CpuMsPerGbit, Show::WithInterval, "CPU/Gbit", 9},
    ColumnSpec{Metric::CpuMsPerGbit, Show::Ratio, "", 8},
    ColumnSpec{Metric::CpuUsPerRequest, Show::WithInterval, "CPU/request", 6},
    ColumnSpec{Metric::ServiceDemandUsPerKib, Show::Value, "demand", 3},
    ColumnSpec{Metric::CyclesPerGbit, Show::Value, "cycles/Gbit", 2},
};
constexpr std::array work{
    ColumnSpec{Metric::SyscallsPerS, Show::Value, "syscalls", 7},
    ColumnSpec{Metric::BytesPerSyscall, Show::Value, "per syscall", 6},
    ColumnSpec{Metric::CopiesPerByte, Show::Value, "copies/byte", 9},
    ColumnSpec{Metric::MemoryTrafficPerByte, Show::Value, "memory/byte", 4},
    ColumnSpec{Metric::CopySharePercent, Show::Value, "CPU copying", 8},
    ColumnSpec{Metric::VoluntarySwitchesPerS, Show::Value, "vol. switches", 5},
    ColumnSpec{Metric::InvoluntarySwitchesPerS, Show::Value, "invol.", 3},
    ColumnSpec{Metric::MinorFaults, Show::Value, "minor faults", 3},
    ColumnSpec{Metric::MajorFaults, Show::Value, "major", 2},
    ColumnSpec{Metric::LlcMissesPerGbit, Show::Value, "LLC misses/Gbit", 4},
    ColumnSpec{Metric::CopiedBytes, Show::Value, "copied", 1},
};
constexpr std::array latency{
    ColumnSpec{Metric::LatencyP50Us, Show::WithInterval, "p50", 8},
    ColumnSpec{Metric::LatencyP90Us, Show::Value, "p90", 6},
    ColumnSpec{Metric::LatencyP99Us, Show::WithInterval, "p99", 9},
    ColumnSpec{Metric::LatencyP999Us, Show::Value, "p99.9", 5},
};
constexpr std::array trust{
    ColumnSpec{Metric::Retransmits, Show::Value, "retransmits", 7},
    ColumnSpec{Metric::ReceiverLimitedPercent, Show::Value, "receiver-limited", 4},
    ColumnSpec{Metric::SendBufferLimitedPercent, Show::Value, "buffer-limited", 4},
    ColumnSpec{Metric::ClientCpuPercent, Show::Value, "client CPU", 9},
    ColumnSpec{Metric::ServerWaitPercent, Show::Value, "waited for CPU", 8},
    ColumnSpec{Metric::KsoftirqdPercent, Show::Value, "ksoftirqd", 5},
    ColumnSpec{Metric::StealPercent, Show::Value, "steal", 6},
};

Sheet sheet_of(const Row& row, std::string title, std::span<const ColumnSpec> specs);
Chapter sweep_chapter(const Report& report);

bool has_figures(const Sheet& sheet) {
  return sheet.columns.size() > 1 && !sheet.lines.empty();
}

/// What the report compares.
const char* kind_of_contender(const Report& report) {
  return report.kind == "serve" || report.kind == "peers" ? "server" : "path";
}

Chapter chapter_of(const Row& row, const char* what) {
  Chapter chapter{.title = row.title, .sheets = {}};
  for (Sheet sheet :
       {sheet_of(row, "the bill", bill), sheet_of(row, "latency of an answer", latency),
        sheet_of(row, "what it did for that", work), sheet_of(row, "how far to trust it", trust)}) {
    sheet.columns.front().title = what;
    if (has_figures(sheet)) chapter.sheets.push_back(std::move(sheet));
  }
  return chapter;
}

}  // namespace

std::vector<Chapter> chapters_of(const Report& report) {
  if (is_sweep(report)) return {sweep_chapter(report)};
  std::vector<Chapter> chapters;
  for (const Row& row : report.rows) {
    chapters.push_back(chapter_of(row, kind_of_contender(report)));
  }
  return chapters;
}

bool is_sweep(const Report& report) {
  return report.kind == "sweep";
}

const Summary* summary_with_value(const Contender& contender, Metric metric) {
  const auto found = contender.summary.find(metric);
  return found != contender.summary.end() && found->second.median ? &found->second : nullptr;
}

bool may_be_the_same(const Summary& a, const Summary& b) {
  return a.ci95 && b.ci95 && a.ci95->low <= b.ci95->high && b.ci95->low <= a.ci95->high;
}

std::vector<std::string> contender_names(const Report& report) {
  std::vector<std::string> names;
  for (const Row& row : report.rows) {
    for (const Contender& contender : row.contenders) {
      if (std::ranges::find(names, contender.name) == names.end()) names.push_back(contender.name);
    }
  }
  return names;
}

namespace {

// ---------------------------------------------------------------- a table of one row

/// What a column is sorted by; none where it is missing.
std::optional<double> value_of(const Row& row, const Contender& contender, const ColumnSpec& spec) {
  if (spec.show == Show::Ratio) return ratio_to_baseline(row, contender, spec.metric);
  const Summary* const summary = summary_with_value(contender, spec.metric);
  return summary == nullptr ? std::nullopt : summary->median;
}

std::string text_of(const Row& row, const Contender& contender, const ColumnSpec& spec) {
  const std::optional<double> value = value_of(row, contender, spec);
  if (!value) return not_there;
  const Summary& summary = *summary_with_value(contender, spec.metric);
  switch (spec.show) {
    case Show::Ratio:
      return format_ratio(*value);
    case Show::WithInterval:
      return format_summary(spec.metric, summary);
    case Show::Value:
      break;
  }
  // A modelled range is all that is known; an interval is left to those columns that ask for it.
  if (summary.range) return format_summary(spec.metric, summary);
  return format_figure(spec.metric, *value);
}

SheetColumn column_of(const Row& row, const ColumnSpec& spec) {
  if (spec.show == Show::Ratio) {
    return {.title = "vs " + row.baseline, .unit = "", .importance = spec.importance};
  }
  const MetricInfo& metric = info(spec.metric);
  return {.title = *spec.title == '\0' ? std::string(metric.title) : spec.title,
          .unit = std::string(unit_beside(spec.metric)),
          .importance = spec.importance};
}

/// Better than every other one, or like it; a difference within the intervals is none.
bool is_best_in(const Row& row, const Contender& contender, Metric metric) {
  const Summary& ours = *summary_with_value(contender, metric);
  bool is_better_than_one = false;
  for (const Contender& other : row.contenders) {
    const Summary* const theirs = summary_with_value(other, metric);
    if (theirs == nullptr || *theirs->median == *ours.median) continue;
    const bool is_lower = *ours.median < *theirs->median;
    if (is_lower != (info(metric).better == Better::Lower)) return false;
    if (may_be_the_same(ours, *theirs)) return false;
    is_better_than_one = true;
  }
  return is_better_than_one;
}

/// Only what is paid for is worth a prize; the rest explains it.
bool is_contest(const ColumnSpec& spec) {
  return info(spec.metric).judged && spec.show != Show::Ratio;
}

void add_column(Sheet& sheet, const Row& row, const ColumnSpec& spec) {
  if (std::ranges::none_of(row.contenders, [&](const Contender& contender) {
        return value_of(row, contender, spec).has_value();
      })) {
    return;
  }
  sheet.columns.push_back(column_of(row, spec));
  std::size_t line = 0;
  for (const Contender& contender : row.contenders) {
    if (contender.rounds.empty()) continue;
    const bool is_there = value_of(row, contender, spec).has_value();
    sheet.lines[line++].push_back(
        {.text = text_of(row, contender, spec),
         .is_best = is_there && is_contest(spec) && is_best_in(row, contender, spec.metric),
         .is_elsewhere = !is_there});
  }
}

/// Contenders that were not run have no line: mishaps_of() says why.
Sheet sheet_of(const Row& row, std::string title, std::span<const ColumnSpec> specs) {
  Sheet sheet{.title = std::move(title),
              .columns_are_paths = false,
              .is_detail = false,
              .columns = {},
              .lines = {}};
  sheet.columns.push_back({.title = "path", .unit = "", .importance = 10});
  for (const Contender& contender : row.contenders) {
    if (!contender.rounds.empty()) sheet.lines.push_back({{contender.name, false, false}});
  }
  for (const ColumnSpec& spec : specs) add_column(sheet, row, spec);
  return sheet;
}

// ---------------------------------------------------------------- the tables of a sweep

const Contender* find_contender(const Row& row, const std::string& name) {
  const auto found = std::ranges::find(row.contenders, name, &Contender::name);
  return found == row.contenders.end() ? nullptr : &*found;
}

/// A line a size, a column a path.
Sheet sheet_by_size(const Report& report, std::string title, const ColumnSpec& spec) {
  Sheet sheet{.title = std::move(title),
              .columns_are_paths = true,
              .is_detail = spec.importance < 9,
              .columns = {},
              .lines = {}};
  sheet.columns.push_back({.title = "size", .unit = "", .importance = 10});
  for (const Row& row : report.rows) {
    sheet.lines.push_back({{format_size(static_cast<double>(row.size_bytes)), false, false}});
  }
  for (const std::string& name : contender_names(report)) {
    std::vector<SheetCell> cells;
    for (const Row& row : report.rows) {
      const Contender* const contender = find_contender(row, name);
      const auto value = contender ? value_of(row, *contender, spec) : std::nullopt;
      const bool is_best = value && spec.show == Show::Ratio && *value < 1 &&
                           std::ranges::none_of(row.contenders, [&](const Contender& other) {
                             const auto theirs = value_of(row, other, spec);
                             return theirs && *theirs < *value;
                           });
      cells.push_back({.text = value ? text_of(row, *contender, spec) : not_there,
                       .is_best = is_best,
                       .is_elsewhere = !value});
    }
    if (std::ranges::all_of(cells, &SheetCell::is_elsewhere)) continue;
    sheet.columns.push_back({.title = name, .unit = "", .importance = 5});
    for (std::size_t i = 0; i < cells.size(); ++i) sheet.lines[i].push_back(std::move(cells[i]));
  }
  return sheet;
}

Chapter sweep_chapter(const Report& report) {
  const std::string baseline = report.rows.empty() ? "copy" : report.rows.front().baseline;
  Chapter chapter{.title = "by size", .sheets = {}};
  for (Sheet sheet :
       {sheet_by_size(report, "CPU per Gbit, against " + baseline,
                      {Metric::CpuMsPerGbit, Show::Ratio, "", 9}),
        sheet_by_size(report, "CPU per Gbit, ms",
                      {Metric::CpuMsPerGbit, Show::WithInterval, "", 9}),
        sheet_by_size(report, "CPU per request, us",
                      {Metric::CpuUsPerRequest, Show::WithInterval, "", 5}),
        sheet_by_size(report, "requests per second", {Metric::RequestsPerS, Show::Value, "", 5}),
        sheet_by_size(report, "latency p50, us", {Metric::LatencyP50Us, Show::Value, "", 5}),
        sheet_by_size(report, "latency p99, us", {Metric::LatencyP99Us, Show::Value, "", 9})}) {
    if (has_figures(sheet)) chapter.sheets.push_back(std::move(sheet));
  }
  return chapter;
}

// ---------------------------------------------------------------- all of it

/// The source that all of a metric's figures have; "" when they differ or there is none.
std::string_view common_source(const Row& row, Metric metric) {
  std::string_view common;
  for (const Contender& contender : row.contenders) {
    const Summary* const summary = summary_with_value(contender, metric);
    if (summary == nullptr) continue;
    if (!common.empty() && common != name_of(summary->source)) return "";
    common = name_of(summary->source);
  }
  return common;
}

}  // namespace

Sheet every_metric(const Row& row) {
  Sheet sheet{.title = "every metric",
              .columns_are_paths = true,
              .is_detail = true,
              .columns = {},
              .lines = {}};
  for (const char* title : {"metric", "unit", "source"}) {
    sheet.columns.push_back({.title = title, .unit = "", .importance = 10});
  }
  for (const Contender& contender : row.contenders) {
    if (contender.rounds.empty()) continue;
    sheet.columns.push_back({.title = contender.name, .unit = "", .importance = 9});
  }
  for (const MetricInfo& metric : metrics()) {
    const std::string_view source = common_source(row, metric.metric);
    std::vector<SheetCell> line{{std::string(metric.title), false, false},
                                {std::string(unit_beside(metric.metric)), false, false},
                                {std::string(source), false, false}};
    bool is_known = false;
    for (const Contender& contender : row.contenders) {
      if (contender.rounds.empty()) continue;
      const Summary* const summary = summary_with_value(contender, metric.metric);
      std::string text = summary ? format_summary(metric.metric, *summary) : not_there;
      if (summary && source.empty()) text += fmt::format(" ({})", name_of(summary->source));
      is_known = is_known || summary != nullptr;
      line.push_back({.text = std::move(text), .is_best = false, .is_elsewhere = !summary});
    }
    if (is_known) sheet.lines.push_back(std::move(line));
  }
  return sheet;
}

}  // namespace pagewire::bench
