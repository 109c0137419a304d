// Small-sample statistics, pure. Rounds are few (3 to 10), so intervals are Student's t.
#pragma once

#include <optional>
#include <span>

#include "bench/report.h"

namespace pagewire::bench {

/// nullopt for an empty span. The mean of the middle two for an even count.
std::optional<double> median(std::span<const double> values);
std::optional<double> mean(std::span<const double> values);

/// 95% confidence interval of the mean; nullopt for fewer than two values.
std::optional<Bounds> ci95_of_mean(std::span<const double> values);

/// 95% confidence interval of mean(b) - mean(a) (Welch: variances may differ); nullopt when either
/// has fewer than two values.
std::optional<Bounds> ci95_of_difference(std::span<const double> a, std::span<const double> b);

}  // namespace pagewire::bench
