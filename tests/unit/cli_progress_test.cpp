// The progress line of a bench, as text.
#include <gtest/gtest.h>

#include "cli/progress.h"

namespace pagewire::cli {
namespace {

ProgressState half_way() {
  return {.done_s = 12, .total_s = 24, .pace = 1, .what = "round 2 of 5: splice"};
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

TEST(Progress, TellsNoTimeWhereThereIsNoPlan) {
  EXPECT_EQ(progress_text({.done_s = 0, .total_s = 0, .pace = 1, .what = "x"}, 30),
            "x  [...................]    0%");
}

TEST(Progress, MeasuresWhatIsLeftByThePaceSoFar) {
  EXPECT_EQ(progress_text({.done_s = 9, .total_s = 9, .pace = 2, .what = "x"}, 30),
            "x  [#########]  100%  0 s left");
  EXPECT_EQ(progress_text({.done_s = 10, .total_s = 9, .pace = 2, .what = "x"}, 30),
            "x  [#########]  100%  0 s left");
  EXPECT_EQ(progress_text({.done_s = 8, .total_s = 16, .pace = 1.5, .what = "x"}, 30),
            "x  [####....]   50%  12 s left");
  EXPECT_EQ(progress_text({.done_s = 1, .total_s = 301, .pace = 1, .what = "sweep"}, 30),
            "sweep    0%  5 min left");
}

}  // namespace
}  // namespace pagewire::cli
