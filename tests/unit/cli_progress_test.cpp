// The progress line of a bench, as text.
#include <gtest/gtest.h>

#include "cli/progress.h"

namespace pagewire::cli {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;

ProgressState half_way() {
  return {.done = 12, .total = 24, .elapsed_ns = 12 * second_ns, .what = "round 2 of 5: splice"};
}

TEST(Progress, SaysWhatHowMuchAndHowLong) {
  EXPECT_EQ(progress_text(half_way(), 80),
            "round 2 of 5: splice  [###############...............]   50%  12 s left");
}

TEST(Progress, GivesUpTheBarFirstAndNeverExceedsTheWidth) {
  EXPECT_EQ(progress_text(half_way(), 50), "round 2 of 5: splice  [####.....]   50%  12 s left");
  EXPECT_EQ(progress_text(half_way(), 46), "round 2 of 5: splice   50%  12 s left");
  EXPECT_EQ(progress_text(half_way(), 20), "round 2 of 5: splice");
  for (std::size_t columns = 0; columns < 120; ++columns) {
    EXPECT_LE(progress_text(half_way(), columns).size(), columns);
  }
}

TEST(Progress, TellsNoTimeBeforeAnythingIsDone) {
  EXPECT_EQ(progress_text({.done = 0, .total = 0, .elapsed_ns = 5, .what = "x"}, 30),
            "x  [...................]    0%");
  EXPECT_EQ(progress_text({.done = 0, .total = 9, .elapsed_ns = second_ns, .what = "x"}, 30),
            "x  [...................]    0%");
}

TEST(Progress, EndsAtAHundredPercentAndCountsLongTimesInMinutes) {
  EXPECT_EQ(progress_text({.done = 9, .total = 9, .elapsed_ns = 9 * second_ns, .what = "x"}, 30),
            "x  [#########]  100%  0 s left");
  EXPECT_EQ(progress_text({.done = 10, .total = 9, .elapsed_ns = 9 * second_ns, .what = "x"}, 30),
            "x  [#########]  100%  0 s left");
  EXPECT_EQ(progress_text({.done = 1, .total = 300, .elapsed_ns = second_ns, .what = "sweep"}, 30),
            "sweep    0%  5 min left");
}

}  // namespace
}  // namespace pagewire::cli
