// Two reports, before and after: which judged figures changed, and whether beyond the noise.
//
// Invariants: a figure is Worse or Better only when its median moved by more than the threshold
// and the 95% interval of the change lies on the same side of zero; a report with one round per
// contender therefore never fails a comparison. Rows are compared only when what was sent, over
// how many connections and at which offered rate is the same.
#include "bench/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "bench/statistics.h"

namespace pagewire::bench {

namespace {

/// The same thing of the report before and of the report after.
template <class T>
struct Both {
  const T& before;
  const T& after;
};

std::string offer_text(const std::optional<double>& rate) {
  return rate ? fmt::format("{} Gbit/s offered", *rate) : std::string("saturation");
}

/// What must be the same for two rows to be comparable, as one line.
std::string workload_of(const Row& row) {
  return fmt::format("{} ({} bytes, {} connections, {} mode, {})", row.title, row.size_bytes,
                     row.connections, row.mode, offer_text(row.offered_gbit_per_s));
}

const Row* find_row(const Report& report, const Row& like) {
  const std::string wanted = workload_of(like);
  const auto found = std::find_if(report.rows.begin(), report.rows.end(),
                                  [&wanted](const Row& row) { return workload_of(row) == wanted; });
  return found == report.rows.end() ? nullptr : &*found;
}

const Contender* find_contender(const Row& row, std::string_view name) {
  const auto found =
      std::find_if(row.contenders.begin(), row.contenders.end(),
                   [name](const Contender& contender) { return contender.name == name; });
  return found == row.contenders.end() ? nullptr : &*found;
}

std::optional<double> median_of(const Contender& contender, Metric metric) {
  const auto found = contender.summary.find(metric);
  return found == contender.summary.end() ? std::nullopt : found->second.median;
}

double relative_change(Both<double> of) {
  if (of.before == of.after) return 0;
  // From nothing to something is more than any threshold.
  if (of.before == 0) return std::copysign(std::numeric_limits<double>::infinity(), of.after);
  return (of.after - of.before) / std::abs(of.before);
}

/// `difference` is the interval of after - before, in the metric's unit.
Verdict verdict_of(double relative, Better better, const std::optional<Bounds>& difference) {
  if (better == Better::Neither) return Verdict::NotJudged;
  const bool beyond_noise =
      difference && (relative > 0 ? difference->low > 0 : difference->high < 0);
  if (!beyond_noise) return Verdict::WithinNoise;
  return (relative > 0) == (better == Better::Higher) ? Verdict::Better : Verdict::Worse;
}

/// One metric of one contender; nullopt where either report lacks it.
std::optional<Change> change_of(const MetricInfo& metric, double threshold, Both<Contender> of) {
  const std::optional<double> before = median_of(of.before, metric.metric);
  const std::optional<double> after = median_of(of.after, metric.metric);
  if (!before || !after) return std::nullopt;
  const std::vector<double> values_before = values_of(of.before, metric.metric);
  const std::vector<double> values_after = values_of(of.after, metric.metric);
  const std::optional<Bounds> difference = ci95_of_difference(values_before, values_after);
  Change change;
  change.name = of.after.name;
  change.metric = metric.metric;
  change.before = *before;
  change.after = *after;
  change.relative = relative_change({*before, *after});
  const double mean_before = std::abs(mean(values_before).value_or(0));
  if (difference && mean_before > 0) {
    change.ci95 = Bounds{difference->low / mean_before, difference->high / mean_before};
  }
  if (std::abs(change.relative) > threshold) {
    change.verdict = verdict_of(change.relative, metric.better, difference);
  } else if (change.ci95 && std::max(-change.ci95->low, change.ci95->high) > threshold) {
    change.verdict = Verdict::WithinNoise;  // it may be more than the threshold, for all we know
  }
  return change;
}

/// The judged metrics of a contender that is in both reports.
void compare_contender(const std::string& title, double threshold, Both<Contender> of,
                       Comparison& comparison) {
  if (of.before.unavailable != of.after.unavailable) {
    const bool was_available = of.before.unavailable.empty();
    comparison.differences.push_back(fmt::format(
        "{}, {}: not available {}: {}", title, of.after.name, was_available ? "any more" : "before",
        was_available ? of.after.unavailable : of.before.unavailable));
    return;
  }
  for (const MetricInfo& metric : metrics()) {
    if (!metric.judged) continue;
    if (std::optional<Change> change = change_of(metric, threshold, of)) {
      change->row = title;
      comparison.worse = comparison.worse || change->verdict == Verdict::Worse;
      comparison.changes.push_back(std::move(*change));
      continue;
    }
    const bool in_before = median_of(of.before, metric.metric).has_value();
    if (in_before == median_of(of.after, metric.metric).has_value()) continue;  // in neither
    comparison.differences.push_back(fmt::format("{}, {}: {} is only in the report {}", title,
                                                 of.after.name, metric.title,
                                                 in_before ? "before" : "after"));
  }
}

/// Returns how many contenders both rows have.
std::size_t compare_row(double threshold, Both<Row> of, Comparison& comparison) {
  std::size_t common = 0;
  for (const Contender& contender : of.before.contenders) {
    if (const Contender* other = find_contender(of.after, contender.name)) {
      ++common;
      compare_contender(of.before.title, threshold, {contender, *other}, comparison);
      continue;
    }
    comparison.differences.push_back(
        fmt::format("{}: {} is only in the report before", of.before.title, contender.name));
  }
  for (const Contender& contender : of.after.contenders) {
    if (find_contender(of.before, contender.name) != nullptr) continue;
    comparison.differences.push_back(
        fmt::format("{}: {} is only in the report after", of.after.title, contender.name));
  }
  return common;
}

void note_if_different(std::string_view what, Both<std::string> of,
                       std::vector<std::string>& differences) {
  if (of.before == of.after) return;
  const auto text = [](const std::string& value) {
    return value.empty() ? std::string("unknown") : value;
  };
  differences.push_back(
      fmt::format("{}: {} before, {} after", what, text(of.before), text(of.after)));
}

std::string joined(const std::vector<std::string>& lines) {
  return fmt::format("{}", fmt::join(lines, ", "));
}

void compare_environments(Both<Environment> of, std::vector<std::string>& differences) {
  const auto note = [&](std::string_view what, auto read) {
    note_if_different(what, {read(of.before), read(of.after)}, differences);
  };
  note("pagewire", [](const Environment& from) { return from.pagewire_version; });
  note("kernel", [](const Environment& from) { return from.kernel; });
  note("CPU", [](const Environment& from) { return from.cpu_model; });
  note("CPUs", [](const Environment& from) { return std::to_string(from.cpus); });
  note("clock source", [](const Environment& from) { return from.clock_source; });
  note("IRQ_TIME_ACCOUNTING", [](const Environment& from) { return from.irq_time_accounting; });
  note("TICK_CPU_ACCOUNTING", [](const Environment& from) { return from.tick_cpu_accounting; });
  note("hardware counters", [](const Environment& from) { return from.hardware_counters; });
  note("filesystem", [](const Environment& from) { return from.filesystem; });
  note("network", [](const Environment& from) { return from.network; });
  note("offloads", [](const Environment& from) { return joined(from.offloads); });
}

std::string setting_of(const Report& report, const std::string& name) {
  const auto found = std::find_if(report.settings.begin(), report.settings.end(),
                                  [&name](const auto& setting) { return setting.first == name; });
  return found == report.settings.end() ? std::string() : found->second;
}

void compare_settings(Both<Report> of, std::vector<std::string>& differences) {
  for (const auto& [name, value] : of.before.settings) {
    note_if_different(name, {value, setting_of(of.after, name)}, differences);
  }
  for (const auto& [name, value] : of.after.settings) {
    const std::string before = setting_of(of.before, name);
    if (before.empty()) note_if_different(name, {before, value}, differences);
  }
}

void note_if_partial(std::string_view which, const Report& report,
                     std::vector<std::string>& differences) {
  if (!report.partial) return;
  differences.push_back(fmt::format("the report {} is partial: {}", which, report.partial_reason));
}

std::string nothing_in_common(Both<Report> of) {
  if (of.before.rows.empty()) return "the report before has no rows";
  if (of.after.rows.empty()) return "the report after has no rows";
  const bool workload_in_common =
      std::any_of(of.before.rows.begin(), of.before.rows.end(),
                  [&of](const Row& row) { return find_row(of.after, row) != nullptr; });
  if (workload_in_common) return "the reports have no contender in common";
  return fmt::format("the reports have no workload in common: {} before, {} after",
                     workload_of(of.before.rows.front()), workload_of(of.after.rows.front()));
}

}  // namespace

tl::expected<Comparison, std::string> compare(const Report& before, const Report& after,
                                              double threshold) {
  if (before.kind != after.kind) {
    return tl::unexpected(fmt::format("the reports are of different kinds: {} before, {} after",
                                      before.kind, after.kind));
  }
  Comparison comparison;
  note_if_partial("before", before, comparison.differences);
  note_if_partial("after", after, comparison.differences);
  compare_environments({before.environment, after.environment}, comparison.differences);
  compare_settings({before, after}, comparison.differences);
  std::size_t common = 0;
  for (const Row& row : before.rows) {
    if (const Row* other = find_row(after, row)) {
      common += compare_row(threshold, {row, *other}, comparison);
    } else {
      comparison.differences.push_back("only in the report before: " + workload_of(row));
    }
  }
  for (const Row& row : after.rows) {
    if (find_row(before, row) != nullptr) continue;
    comparison.differences.push_back("only in the report after: " + workload_of(row));
  }
  if (common == 0) return tl::unexpected(nothing_in_common({before, after}));
  return comparison;
}

}  // namespace pagewire::bench
