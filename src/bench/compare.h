// Two reports of the same workload, before and after. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "bench/report.h"

namespace pagewire::bench {

enum class Verdict : std::uint8_t {
  Same,  ///< within the threshold, and so is the 95% interval, where there is one
  Better,
  Worse,        ///< by more than the threshold, and the 95% interval of the change excludes none
  WithinNoise,  ///< beyond the threshold, but the interval includes no change, or cannot be had
  NotJudged,    ///< a metric without a better or worse
};

struct Change {
  std::string row;   ///< title
  std::string name;  ///< contender
  Metric metric = Metric::CpuMsPerGbit;
  double before = 0;  ///< medians
  double after = 0;
  double relative = 0;         ///< (after - before) / before
  std::optional<Bounds> ci95;  ///< of `relative`
  Verdict verdict = Verdict::Same;
};

struct Comparison {
  std::vector<Change> changes;           ///< judged metrics of what both reports have
  std::vector<std::string> differences;  ///< of the environments, and what only one report has
  bool worse = false;
};

/// Errors (exit 2): different kinds, no row and contender in common, other connections, rate...
tl::expected<Comparison, std::string> compare(const Report& before, const Report& after,
                                              double threshold);
std::string to_table(const Comparison& comparison, std::size_t columns);

}  // namespace pagewire::bench
