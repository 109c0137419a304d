// Values as a user writes them: numbers, sizes, times; and which known name an unknown one is near.
//
// Pure. What these print, they also read.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pagewire::cli {

/// Decimal digits only: no sign, no space.
std::optional<std::uint64_t> parse_number(std::string_view text);

/// "4096", "16K", "1M", "2G", "1T" (of 1024, either case); at most 2^63 - 1.
std::optional<std::uint64_t> parse_size(std::string_view text);
std::string show_size(std::uint64_t bytes);

/// "500ms", "10s", "1m", "24h"; a bare 0 needs no unit. In milliseconds.
std::optional<std::int64_t> parse_duration_ms(std::string_view text);
std::string show_duration(std::int64_t duration_ms);

/// "3", "0.5": no sign, no exponent.
std::optional<double> parse_decimal(std::string_view text);
std::string show_decimal(double value);

/// "3", "0.5", "3s", "500ms", "1.5m": seconds, where there is no unit.
std::optional<double> parse_seconds(std::string_view text);

/// "5%" and "0.05" are both 0.05. A bare number above 1 is none: "5" could mean either.
std::optional<double> parse_share(std::string_view text);
std::string show_share(double share);

/// CPU numbers: "0,1" or "0-3,6".
std::optional<std::vector<int>> parse_cpu_list(std::string_view text);
std::string show_cpu_list(std::span<const int> cpus);

/// The one of `known` that takes the fewest edits to reach, if that is a likely slip of the hand.
std::optional<std::string_view> near_match(std::string_view unknown,
                                           std::span<const std::string_view> known);

}  // namespace pagewire::cli
