// Medians and intervals, against figures worked out by hand or by R.
#include <gtest/gtest.h>

#include <vector>

#include "bench/statistics.h"

namespace pagewire::bench {
namespace {

using Values = std::vector<double>;

TEST(Median, IsTheMiddleOrTheMeanOfTheMiddleTwo) {
  EXPECT_FALSE(median(Values{}).has_value());
  EXPECT_DOUBLE_EQ(*median(Values{7}), 7);
  EXPECT_DOUBLE_EQ(*median(Values{9, 1, 5}), 5);
  EXPECT_DOUBLE_EQ(*median(Values{9, 1, 5, 6}), 5.5);
}

TEST(Median, DoesNotCareForOneWildValue) {
  EXPECT_DOUBLE_EQ(*median(Values{10, 11, 12, 13, 5000}), 12);
}

TEST(Mean, OfValues) {
  EXPECT_FALSE(mean(Values{}).has_value());
  EXPECT_DOUBLE_EQ(*mean(Values{1, 2, 6}), 3);
}

struct IntervalCase {
  Values values;
  double low;
  double high;
};

TEST(IntervalOfMean, IsStudentsT) {
  // R: t.test(c(...))$conf.int
  const std::vector<IntervalCase> cases = {
      {{1, 2}, 1.5 - 12.7062047 * 0.5, 1.5 + 12.7062047 * 0.5},
      {{1, 2, 3, 4, 5}, 3 - 2.7764451 * 0.70710678, 3 + 2.7764451 * 0.70710678},
      {{4, 4, 4}, 4, 4},
  };
  for (const IntervalCase& row : cases) {
    const std::optional<Bounds> interval = ci95_of_mean(row.values);
    ASSERT_TRUE(interval.has_value());
    EXPECT_NEAR(interval->low, row.low, 1e-6);
    EXPECT_NEAR(interval->high, row.high, 1e-6);
  }
}

TEST(IntervalOfMean, NeedsTwoValues) {
  EXPECT_FALSE(ci95_of_mean(Values{}).has_value());
  EXPECT_FALSE(ci95_of_mean(Values{3}).has_value());
}

TEST(IntervalOfDifference, IsWelchs) {
  // R: t.test(c(3, 5, 7), c(1, 2, 3)): df = 2.9412, standard error sqrt(5 / 3).
  const std::optional<Bounds> interval = ci95_of_difference(Values{1, 2, 3}, Values{3, 5, 7});
  ASSERT_TRUE(interval.has_value());
  const double degrees = (5.0 / 3) * (5.0 / 3) / (1.0 / 9 / 2 + 16.0 / 9 / 2);
  EXPECT_NEAR(degrees, 2.9411765, 1e-6);
  EXPECT_NEAR((interval->low + interval->high) / 2, 3, 1e-9);
  // t(0.975) lies between those of 2 (4.3027) and 3 (3.1824) degrees, close to the latter.
  const double half = (interval->high - interval->low) / 2 / 1.2909944;
  EXPECT_GT(half, 3.1824);
  EXPECT_LT(half, 3.2824);
}

TEST(IntervalOfDifference, HasTheSignOfBMinusA) {
  const std::optional<Bounds> interval =
      ci95_of_difference(Values{10, 10.1, 9.9}, Values{5, 5.1, 4.9});
  ASSERT_TRUE(interval.has_value());
  EXPECT_LT(interval->high, 0);
  EXPECT_GT(interval->low, -6);
}

TEST(IntervalOfDifference, OfValuesThatDoNotVaryIsExact) {
  const std::optional<Bounds> interval = ci95_of_difference(Values{2, 2}, Values{5, 5, 5});
  ASSERT_TRUE(interval.has_value());
  EXPECT_DOUBLE_EQ(interval->low, 3);
  EXPECT_DOUBLE_EQ(interval->high, 3);
  // One side alone varies.
  const std::optional<Bounds> half = ci95_of_difference(Values{2, 2}, Values{4, 6});
  ASSERT_TRUE(half.has_value());
  EXPECT_NEAR(half->high - half->low, 2 * 12.7062047, 1e-5);
}

TEST(IntervalOfDifference, SurvivesVariancesThatUnderflow) {
  const std::optional<Bounds> interval = ci95_of_difference(Values{0, 1e-160}, Values{0, 2e-160});
  ASSERT_TRUE(interval.has_value());
  EXPECT_LE(interval->low, interval->high);
}

TEST(IntervalOfDifference, NeedsTwoValuesOnBothSides) {
  EXPECT_FALSE(ci95_of_difference(Values{1}, Values{1, 2}).has_value());
  EXPECT_FALSE(ci95_of_difference(Values{1, 2}, Values{1}).has_value());
}

}  // namespace
}  // namespace pagewire::bench
