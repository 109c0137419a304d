#include "cli/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>

#include "base/units.h"

namespace pagewire::cli {

namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};
constexpr std::array<Unit, 5> size_units = {
    {{"", 1}, {"K", kib}, {"M", mib}, {"G", gib}, {"T", 1024 * gib}}};
constexpr std::array<Unit, 4> time_units = {
    {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}}};

constexpr int highest_cpu = 4095;

struct NumberAndUnit {
  std::uint64_t number = 0;
  std::string_view unit;
};

std::optional<NumberAndUnit> split_unit(std::string_view text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const std::optional<std::uint64_t> number = parse_number(text.substr(0, digits));
  if (!number) return std::nullopt;
  return NumberAndUnit{.number = *number, .unit = text.substr(digits)};
}

/// number * factor, if that is at most 2^63 - 1.
std::optional<std::uint64_t> scaled(std::uint64_t number, std::uint64_t factor) {
  if (number > max_file_size_bytes / factor) return std::nullopt;
  return number * factor;
}

/// In the largest unit that leaves a whole number.
std::string show_in_units(std::uint64_t value, std::span<const Unit> units) {
  const Unit* best = &units.front();
  for (const Unit& unit : units) {
    if (value != 0 && value % unit.factor == 0) best = &unit;
  }
  return fmt::format("{}{}", value / best->factor, best->name);
}

/// Levenshtein distance: insertions, deletions and replacements.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped_at, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stopped_at != end) return std::nullopt;
  return number;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  const std::optional<NumberAndUnit> parts = split_unit(text);
  if (!parts) return std::nullopt;
  for (const Unit& unit : size_units) {
    const bool lower_case = parts->unit.size() == 1 && unit.name.size() == 1 &&
                            parts->unit[0] == unit.name[0] - 'A' + 'a';
    if (parts->unit == unit.name || lower_case) return scaled(parts->number, unit.factor);
  }
  return std::nullopt;
}

std::string show_size(std::uint64_t bytes) {
  return show_in_units(bytes, size_units);
}

std::optional<std::int64_t> parse_duration_ms(std::string_view text) {
  const std::optional<NumberAndUnit> parts = split_unit(text);
  if (!parts) return std::nullopt;
  if (parts->unit.empty() && parts->number == 0) return 0;
  for (const Unit& unit : time_units) {
    if (parts->unit != unit.name) continue;
    const std::optional<std::uint64_t> ms = scaled(parts->number, unit.factor);
    if (!ms) return std::nullopt;
    return static_cast<std::int64_t>(*ms);
  }
  return std::nullopt;
}

std::string show_duration(std::int64_t duration_ms) {
  return show_in_units(static_cast<std::uint64_t>(duration_ms), time_units);
}

std::optional<double> parse_decimal(std::string_view text) {
  if (text.find_first_not_of("0123456789.") != std::string_view::npos) return std::nullopt;
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped_at, error] =
      std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc{} || stopped_at != end) return std::nullopt;
  return number;
}

std::string show_decimal(double value) {
  return fmt::format("{}", value);
}

std::optional<double> parse_seconds(std::string_view text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::optional<double> number = parse_decimal(text.substr(0, digits));
  const std::string_view name = text.substr(digits);
  if (!number || name.empty()) return number;
  for (const Unit& unit : time_units) {
    if (unit.name == name) return *number * static_cast<double>(unit.factor) / 1e3;
  }
  return std::nullopt;
}

std::optional<double> parse_share(std::string_view text) {
  const bool percent = text.ends_with('%');
  if (percent) text.remove_suffix(1);
  const std::optional<double> number = parse_decimal(text);
  if (!number) return std::nullopt;
  if (percent) return *number / 100;
  return *number <= 1 ? number : std::nullopt;
}

std::string show_share(double share) {
  return fmt::format("{:.6g}%", share * 100);
}

std::optional<std::vector<int>> parse_cpu_list(std::string_view text) {
  std::vector<int> cpus;
  for (;;) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view item = text.substr(0, comma);
    const std::size_t dash = std::min(item.find('-'), item.size());
    const std::optional<std::uint64_t> first = parse_number(item.substr(0, dash));
    const std::optional<std::uint64_t> last =
        dash == item.size() ? first : parse_number(item.substr(dash + 1));
    if (!first || !last || *first > *last || *last > highest_cpu) return std::nullopt;
    for (std::uint64_t cpu = *first; cpu <= *last; ++cpu) cpus.push_back(static_cast<int>(cpu));
    if (comma == text.size()) return cpus;
    text.remove_prefix(comma + 1);
  }
}

std::string show_cpu_list(std::span<const int> cpus) {
  return fmt::format("{}", fmt::join(cpus, ","));
}

std::optional<std::string_view> near_match(std::string_view unknown,
                                           std::span<const std::string_view> known) {
  std::optional<std::string_view> best;
  std::size_t best_distance = std::max<std::size_t>(2, unknown.size() / 3) + 1;
  for (const std::string_view name : known) {
    const std::size_t distance = edit_distance(unknown, name);
    // A distance of the whole word is no likeness: "x" is not near "ip".
    if (distance < best_distance && distance < name.size()) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace pagewire::cli
