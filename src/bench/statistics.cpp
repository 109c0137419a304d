// Median, mean and Student's t.
//
// Invariants: no function changes its input, an interval always holds the estimate that it belongs
// to, and what cannot be had (an interval from one value) is nullopt.
//
// Sources: Student's t and Welch's degrees of freedom (Welch 1947, Satterthwaite 1946) as in any
// textbook; the quantile is Boost.Math's.
#include "bench/statistics.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>
#include <vector>

namespace pagewire::bench {

namespace {

/// Half of the width of a 95% interval, in standard errors.
double t_quantile(double degrees_of_freedom) {
  return boost::math::quantile(boost::math::students_t(degrees_of_freedom), 0.975);
}

/// The unbiased variance of the values divided by their number: the square of the standard error.
double squared_error_of_mean(std::span<const double> values, double mean_of_values) {
  double squares = 0;
  for (const double value : values) squares += (value - mean_of_values) * (value - mean_of_values);
  const auto count = static_cast<double>(values.size());
  return squares / (count - 1) / count;
}

}  // namespace

std::optional<double> median(std::span<const double> values) {
  if (values.empty()) return std::nullopt;
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const std::size_t middle = sorted.size() / 2;
  if (sorted.size() % 2 == 1) return sorted[middle];
  return std::midpoint(sorted[middle - 1], sorted[middle]);
}

std::optional<double> mean(std::span<const double> values) {
  if (values.empty()) return std::nullopt;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::optional<Bounds> ci95_of_mean(std::span<const double> values) {
  if (values.size() < 2) return std::nullopt;
  const double centre = *mean(values);
  const double error = std::sqrt(squared_error_of_mean(values, centre));
  const double half = t_quantile(static_cast<double>(values.size() - 1)) * error;
  return Bounds{centre - half, centre + half};
}

std::optional<Bounds> ci95_of_difference(std::span<const double> a, std::span<const double> b) {
  if (a.size() < 2 || b.size() < 2) return std::nullopt;
  const double mean_a = *mean(a);
  const double mean_b = *mean(b);
  const double difference = mean_b - mean_a;
  const double squared_a = squared_error_of_mean(a, mean_a);
  const double squared_b = squared_error_of_mean(b, mean_b);
  const double squared = squared_a + squared_b;
  // Neither varies at all (counters often do not): the difference is exact.
  if (squared <= 0) return Bounds{difference, difference};
  const double degrees_of_freedom = squared * squared /
                                    (squared_a * squared_a / static_cast<double>(a.size() - 1) +
                                     squared_b * squared_b / static_cast<double>(b.size() - 1));
  // Variances so small that their squares vanish: as good as none.
  if (!std::isfinite(degrees_of_freedom)) return Bounds{difference, difference};
  const double half = t_quantile(degrees_of_freedom) * std::sqrt(squared);
  return Bounds{difference - half, difference + half};
}

}  // namespace pagewire::bench
