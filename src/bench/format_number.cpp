#include "bench/format_number.h"

#include <fmt/format.h>

#include <cmath>

namespace pagewire::bench {

namespace {

bool is_whole(double value) {
  return std::floor(value) == value && std::fabs(value) < 1e15;
}

bool is_size(Metric metric) {
  return metric == Metric::BytesPerSyscall || metric == Metric::CopiedBytes;
}

bool is_large(Metric metric) {
  return metric == Metric::CyclesPerGbit || metric == Metric::LlcMissesPerGbit;
}

/// Counted one by one: 12, not 12.0.
bool is_count(Metric metric) {
  return metric == Metric::MinorFaults || metric == Metric::MajorFaults ||
         metric == Metric::Retransmits;
}

}  // namespace

std::string format_tick(double value) {
  if (std::fabs(value) >= 1000 || !std::isfinite(value)) return format_number(value);
  return fmt::format("{:.3g}", value);
}

std::string format_figure(Metric metric, double value) {
  if (is_size(metric)) return format_size(value);
  if (is_large(metric)) return format_large(value);
  // A percentage that happens to be whole has as many digits as the one below it.
  if (is_whole(value) && value != 0 && !is_count(metric)) {
    return with_decimals(value, decimals_for(value));
  }
  return format_number(value);
}

std::string_view unit_beside(Metric metric) {
  return is_size(metric) ? "" : info(metric).unit;
}

std::string format_summary(Metric metric, const Summary& summary) {
  if (!summary.median) return {};
  if (summary.range && summary.range->low < summary.range->high) {
    return fmt::format("{} to {}", format_figure(metric, summary.range->low),
                       format_figure(metric, summary.range->high));
  }
  const std::string median = format_figure(metric, *summary.median);
  if (!summary.ci95 || is_size(metric) || is_large(metric)) return median;
  const double half = (summary.ci95->high - summary.ci95->low) / 2;
  if (half <= 0) return median;
  // As many decimals as the median has, or else they would say more than it does.
  const std::size_t point = median.find('.');
  const int decimals = point == std::string::npos ? 0 : static_cast<int>(median.size() - point - 1);
  const double rounded = half * std::pow(10, decimals);
  return fmt::format("{} ±{}", median,
                     rounded < 0.5 ? fmt::format("{:.1g}", half) : with_decimals(half, decimals));
}

std::string format_ratio(double ratio) {
  if (!std::isfinite(ratio)) return "n/a";
  return with_decimals(ratio, std::fabs(ratio) < 0.1 ? 3 : 2);
}

}  // namespace pagewire::bench
