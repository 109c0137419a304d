// What follows from a report's rounds: summaries and ratios. Pure.
//
// Invariants: a round that failed, or was traced and sampled, never changes a billed figure; a
// summary without a median has a reason.
#include "bench/report.h"

#include <algorithm>

#include "bench/statistics.h"

namespace pagewire::bench {

namespace {

/// The figures of one metric that have a value, of billed or of instrumented rounds.
std::vector<const Figure*> figures_with_value(const Contender& contender, Metric metric,
                                              bool instrumented) {
  std::vector<const Figure*> found;
  for (const Round& round : contender.rounds) {
    if (round.instrumented != instrumented || !round.failed.empty()) continue;
    const auto figure = round.figures.find(metric);
    if (figure != round.figures.end() && figure->second.value) found.push_back(&figure->second);
  }
  return found;
}

/// What only tracing or sampling can tell.
bool needs_instruments(Metric metric) {
  return metric == Metric::SyscallsPerS || metric == Metric::BytesPerSyscall ||
         metric == Metric::CopySharePercent;
}

std::vector<const Figure*> figures_that_count(const Contender& contender, Metric metric) {
  std::vector<const Figure*> found = figures_with_value(contender, metric, false);
  // Any other metric was changed by tracing: none is better than that one.
  if (found.empty() && needs_instruments(metric)) {
    found = figures_with_value(contender, metric, true);
  }
  return found;
}

std::vector<double> values_in(const std::vector<const Figure*>& figures) {
  std::vector<double> values;
  values.reserve(figures.size());
  for (const Figure* figure : figures) values.push_back(*figure->value);
  return values;
}

/// Why no round has the metric: what the last one that tried says.
std::string reason_of(const Contender& contender, Metric metric) {
  if (!contender.unavailable.empty()) return contender.unavailable;
  for (auto round = contender.rounds.rbegin(); round != contender.rounds.rend(); ++round) {
    const auto figure = round->figures.find(metric);
    if (figure != round->figures.end() && !figure->second.reason.empty()) {
      return figure->second.reason;
    }
  }
  for (auto round = contender.rounds.rbegin(); round != contender.rounds.rend(); ++round) {
    if (!round->failed.empty()) return "no round was complete: " + round->failed;
  }
  return contender.rounds.empty() ? "no round was complete" : "no round has it";
}

/// The least that holds every round's range.
std::optional<Bounds> widest(const std::vector<const Figure*>& figures) {
  std::optional<Bounds> all;
  for (const Figure* figure : figures) {
    if (!figure->range) continue;
    if (!all) all = figure->range;
    all->low = std::min(all->low, figure->range->low);
    all->high = std::max(all->high, figure->range->high);
  }
  return all;
}

Summary summary_of(const Contender& contender, Metric metric) {
  const std::vector<const Figure*> figures = figures_that_count(contender, metric);
  Summary summary;
  if (figures.empty()) {
    summary.reason = reason_of(contender, metric);
    return summary;
  }
  const std::vector<double> values = values_in(figures);
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  summary.median = median(values);
  summary.mean = mean(values);
  summary.ci95 = ci95_of_mean(values);
  summary.extent = Bounds{*least, *most};
  summary.rounds = values.size();
  summary.source = figures.back()->source;
  summary.range = widest(figures);
  return summary;
}

}  // namespace

std::string_view name_of(Source source) {
  switch (source) {
    case Source::Measured:
      return "measured";
    case Source::Counted:
      return "counted";
    case Source::Modelled:
      return "modelled";
  }
  return "";
}

void summarise(Report& report) {
  for (Row& row : report.rows) {
    for (Contender& contender : row.contenders) {
      contender.summary.clear();
      for (const MetricInfo& metric : metrics()) {
        contender.summary.emplace(metric.metric, summary_of(contender, metric.metric));
      }
    }
  }
}

std::vector<double> values_of(const Contender& contender, Metric metric) {
  return values_in(figures_that_count(contender, metric));
}

std::optional<double> ratio_to_baseline(const Row& row, const Contender& contender, Metric metric) {
  const auto baseline =
      std::find_if(row.contenders.begin(), row.contenders.end(),
                   [&row](const Contender& candidate) { return candidate.name == row.baseline; });
  if (baseline == row.contenders.end()) return std::nullopt;
  const auto ours = contender.summary.find(metric);
  const auto theirs = baseline->summary.find(metric);
  if (ours == contender.summary.end() || !ours->second.median) return std::nullopt;
  if (theirs == baseline->summary.end() || !theirs->second.median) return std::nullopt;
  // Nothing is a multiple of nothing.
  if (*theirs->second.median == 0) return std::nullopt;
  return *ours->second.median / *theirs->second.median;
}

}  // namespace pagewire::bench
