// Numbers for people: as many digits as a measurement of a few seconds deserves, and separators
// where they help. Pure. What reads figures back takes JSON or CSV, which have every digit.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/report.h"

namespace pagewire::bench {

/// About three digits: 0.031, 0.31, 14.2, 815, 1,108,910; "0" for nothing.
std::string format_number(double value);
/// "256 MiB", "1.50 KiB", "17 B": the largest unit that leaves at least 1. What is not a whole
/// number of units has two decimals at most.
std::string format_size(double bytes);
/// As format_number, but 1e6 and more get a suffix: "310 M", "14.2 G".
std::string format_large(double value);

/// For the ticks of an axis: as few digits as it takes, 0.7 and not 0.70.
std::string format_tick(double value);

/// By the metric: bytes as sizes, cycles with a suffix, everything else as a number. No unit.
std::string format_figure(Metric metric, double value);
/// What stands beside format_figure()'s text: "" where the text has its unit already.
std::string_view unit_beside(Metric metric);
/// "14.2 ±0.3": the median, and half of the interval of the mean. The median alone without one;
/// "2 to 4" for a modelled range. "" when there is no value.
std::string format_summary(Metric metric, const Summary& summary);
/// "0.31", with "1.00" for the baseline itself.
std::string format_ratio(double ratio);

/// Columns that a UTF-8 text takes on a terminal, as far as it has no wide or combining characters.
std::size_t columns_of(std::string_view text);
/// The first `columns` of a UTF-8 text, with "…" as the last one when something was cut off.
std::string cut_to(std::string_view text, std::size_t columns);
/// The same with "…" in the middle: versions at the end of names are what tells them apart.
std::string cut_in_the_middle(std::string_view text, std::size_t columns);
/// Broken at spaces so that no line is longer than `columns`, but for words that are.
std::vector<std::string> wrap(std::string_view text, std::size_t columns);

}  // namespace pagewire::bench
