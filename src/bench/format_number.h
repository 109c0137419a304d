// Figures for people: numbers of text.h with the unit that their metric has. Pure.
#pragma once

#include <string>
#include <string_view>

#include "bench/report.h"
#include "text/text.h"

namespace pagewire::bench {

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

}  // namespace pagewire::bench
