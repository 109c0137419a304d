// The status line's numbers and its width.
#include <gtest/gtest.h>

#include "cli/status_line.h"

namespace pagewire::cli {
namespace {

StatusSample before() {
  return {.totals = {.requests = 100, .bytes = 1'000, .connections_open = 3},
          .cpu_ns = 5'000'000'000,
          .monotonic_ns = 10'000'000'000};
}

StatusSample two_seconds_later() {
  return {.totals = {.requests = 1'100, .bytes = 250'001'000, .connections_open = 12},
          .cpu_ns = 6'500'000'000,
          .monotonic_ns = 12'000'000'000};
}

TEST(StatusText, ShowsWhatHappenedPerSecond) {
  EXPECT_EQ(status_text(before(), two_seconds_later(), {.counted = "requests", .columns = 80}),
            "12 connections  1.00 Gbit/s  500 requests/s  CPU 75%");
}

TEST(StatusText, IsCutToTheTerminal) {
  EXPECT_EQ(status_text(before(), two_seconds_later(), {.counted = "requests", .columns = 14}),
            "12 connections");
  EXPECT_EQ(status_text(before(), two_seconds_later(), {.counted = "requests"}), "");
}

TEST(StatusText, HasNothingToSayOfNoTime) {
  EXPECT_EQ(status_text(before(), before(), {.counted = "requests", .columns = 80}), "");
}

}  // namespace
}  // namespace pagewire::cli
