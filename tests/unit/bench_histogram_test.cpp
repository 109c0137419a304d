// The histogram: percentiles within 1% of the true ones, at every size of value.
#include "bench/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

namespace pagewire::bench {
namespace {

TEST(Histogram, SmallValuesAreExact) {
  const auto histogram = std::make_unique<Histogram>();
  for (std::uint64_t value = 0; value < 100; ++value) histogram->record(value);
  EXPECT_EQ(histogram->count(), 100U);
  EXPECT_EQ(histogram->percentile(0), 0U);
  EXPECT_EQ(histogram->percentile(0.5), 49U);
  EXPECT_EQ(histogram->percentile(1), 99U);
}

TEST(Histogram, EveryMagnitudeIsWithinOnePercent) {
  for (unsigned shift = 0; shift < 64; ++shift) {
    for (const std::uint64_t low : {0ULL, 1ULL, 0x55ULL}) {
      const std::uint64_t value =
          (std::uint64_t{1} << shift) | (shift > 8 ? low << (shift - 8) : 0);
      const auto histogram = std::make_unique<Histogram>();
      histogram->record(value);
      const auto found = static_cast<double>(histogram->percentile(0.5));
      EXPECT_NEAR(found, static_cast<double>(value), 0.01 * static_cast<double>(value));
    }
  }
}

TEST(Histogram, PercentilesOfManyAreThoseOfTheSortedValues) {
  std::mt19937_64 random(3);
  std::lognormal_distribution<double> latency(10, 2);
  const auto histogram = std::make_unique<Histogram>();
  std::vector<std::uint64_t> values;
  for (int i = 0; i < 100'000; ++i) {
    values.push_back(static_cast<std::uint64_t>(latency(random)));
    histogram->record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double fraction : {0.0, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto index = static_cast<std::size_t>(fraction * static_cast<double>(values.size() - 1));
    const auto right = static_cast<double>(values[index]);
    EXPECT_NEAR(static_cast<double>(histogram->percentile(fraction)), right, 0.01 * right + 0.5)
        << fraction;
  }
}

TEST(Histogram, OneSlowAnswerInAThousandShowsInTheLastPercentileOnly) {
  const auto histogram = std::make_unique<Histogram>();
  for (int i = 0; i < 998; ++i) histogram->record(1'000);
  histogram->record(1'000'000);
  histogram->record(1'000'000);
  EXPECT_NEAR(static_cast<double>(histogram->percentile(0.99)), 1'000, 10);
  EXPECT_NEAR(static_cast<double>(histogram->percentile(0.999)), 1'000'000, 10'000);
}

}  // namespace
}  // namespace pagewire::bench
