#include "bench/format_number.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace pagewire::bench {

namespace {

/// 1234567 -> 1,234,567. Only the digits before the point are grouped.
std::string with_separators(const std::string& number) {
  const std::size_t first = number.starts_with('-') ? 1 : 0;
  const std::size_t end = std::min(number.find('.'), number.size());
  std::string grouped = number.substr(0, first);
  for (std::size_t i = first; i < end; ++i) {
    if (i > first && (end - i) % 3 == 0) grouped += ',';
    grouped += number[i];
  }
  return grouped + number.substr(end);
}

/// Enough for two or three digits.
int decimals_for(double value) {
  const double size = std::fabs(value);
  if (size >= 100) return 0;
  if (size >= 10) return 1;
  if (size >= 0.1) return 2;
  return size >= 0.01 ? 3 : 4;
}

std::string with_decimals(double value, int decimals) {
  return with_separators(fmt::format("{:.{}f}", value, decimals));
}

bool is_whole(double value) {
  return std::floor(value) == value && std::fabs(value) < 1e15;
}

bool is_utf8_start(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80U;
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

std::string format_number(double value) {
  if (!std::isfinite(value)) return "n/a";
  if (is_whole(value)) return with_decimals(value, 0);
  if (std::fabs(value) < 0.001) return fmt::format("{:.1e}", value);
  return with_decimals(value, decimals_for(value));
}

std::string format_size(double bytes) {
  constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  std::size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < units.size()) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{} {}", format_number(bytes), units[unit]);
}

std::string format_large(double value) {
  constexpr std::array suffixes{" M", " G", " T", " P"};
  if (!std::isfinite(value) || std::fabs(value) < 1e6) return format_number(value);
  std::size_t suffix = 0;
  value /= 1e6;
  while (std::fabs(value) >= 1000 && suffix + 1 < suffixes.size()) {
    value /= 1000;
    ++suffix;
  }
  return with_decimals(value, decimals_for(value)) + suffixes[suffix];
}

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

std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, is_utf8_start));
}

std::string cut_to(std::string_view text, std::size_t columns) {
  if (columns_of(text) <= columns) return std::string(text);
  if (columns == 0) return {};
  std::size_t kept = 0;
  std::size_t end = 0;
  while (end < text.size() && (kept + 1 < columns || !is_utf8_start(text[end]))) {
    if (is_utf8_start(text[end])) ++kept;
    ++end;
  }
  return std::string(text.substr(0, end)) + "…";
}

std::string cut_in_the_middle(std::string_view text, std::size_t columns) {
  const std::size_t all = columns_of(text);
  if (all <= columns || columns < 3) return cut_to(text, columns);
  const std::size_t behind = (columns - 1) / 2;
  std::size_t begin = 0;
  for (std::size_t passed = 0; passed < all - behind; ++passed) {
    do {
      ++begin;
    } while (begin < text.size() && !is_utf8_start(text[begin]));
  }
  return cut_to(text, columns - behind) + std::string(text.substr(begin));
}

std::vector<std::string> wrap(std::string_view text, std::size_t columns) {
  std::vector<std::string> lines;
  std::string line;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(" \n\t\r"), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    if (!line.empty() && columns_of(line) + 1 + columns_of(word) > columns) {
      lines.push_back(std::move(line));
      line.clear();
    }
    if (!line.empty()) line += ' ';
    line += word;
  }
  if (!line.empty()) lines.push_back(std::move(line));
  return lines;
}

}  // namespace pagewire::bench
