// The numbers of text.h.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "text/text.h"

namespace pagewire {

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

bool is_whole(double value) {
  return std::floor(value) == value && std::fabs(value) < 1e15;
}

}  // namespace

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

}  // namespace pagewire
