// An axis: from values to pixels, and where its ticks are. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/report.h"

namespace pagewire::bench {

struct Scale {
  bool is_log = false;
  Bounds values;  ///< log: both above 0, low < high
  Bounds pixels;  ///< of values.low and values.high; may fall

  double at(double value) const;
};

/// From 0 to a round number at or above `most`.
Scale linear_scale(double most, Bounds pixels);
/// Holds `values` with some air; nullopt when they are not above 0.
std::optional<Scale> log_scale(Bounds values, Bounds pixels);

/// Round numbers within the scale, at most about ten.
std::vector<double> ticks_of(const Scale& scale);

}  // namespace pagewire::bench
