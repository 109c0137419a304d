// Values as users write them.
#include <gtest/gtest.h>

#include <array>

#include "cli/values.h"

namespace pagewire::cli {
namespace {

TEST(Sizes, AreReadWithUnitsOf1024) {
  EXPECT_EQ(parse_size("0"), 0U);
  EXPECT_EQ(parse_size("4097"), 4097U);
  EXPECT_EQ(parse_size("16K"), 16U * 1024);
  EXPECT_EQ(parse_size("16k"), 16U * 1024);
  EXPECT_EQ(parse_size("3M"), 3U * 1024 * 1024);
  EXPECT_EQ(parse_size("2g"), 2ULL << 30);
  EXPECT_EQ(parse_size("9223372036854775807"), 9223372036854775807ULL);
  EXPECT_EQ(parse_size("8388607T"), 8388607ULL << 40);
}

TEST(Sizes, RefuseEverythingElse) {
  for (const char* text : {"", "K", "-1", "+1", " 1", "1 ", "1KB", "1KiB", "1.5M", "0x10", "1m2",
                           "9223372036854775808", "8388608T", "18446744073709551616", "ms"}) {
    EXPECT_EQ(parse_size(text), std::nullopt) << text;
  }
}

TEST(Sizes, AreShownAsTheyAreRead) {
  for (const std::uint64_t size :
       {0ULL, 1ULL, 1023ULL, 1024ULL, 1536ULL, 1ULL << 20, 3ULL << 30, 9223372036854775807ULL}) {
    EXPECT_EQ(parse_size(show_size(size)), size);
  }
  EXPECT_EQ(show_size(0), "0");
  EXPECT_EQ(show_size(16384), "16K");
  EXPECT_EQ(show_size(1536), "1536");
}

TEST(Durations, NeedAUnit) {
  EXPECT_EQ(parse_duration_ms("500ms"), 500);
  EXPECT_EQ(parse_duration_ms("10s"), 10'000);
  EXPECT_EQ(parse_duration_ms("1m"), 60'000);
  EXPECT_EQ(parse_duration_ms("24h"), 86'400'000);
  EXPECT_EQ(parse_duration_ms("0"), 0);
  EXPECT_EQ(parse_duration_ms("0s"), 0);
  for (const char* text :
       {"", "10", "s", "-1s", "1.5s", "1 s", "1S", "1min", "1s1", "9223372036854775807h"}) {
    EXPECT_EQ(parse_duration_ms(text), std::nullopt) << text;
  }
  for (const std::int64_t ms : {0, 1, 999, 1'000, 1'500, 60'000, 90'000, 3'600'000}) {
    EXPECT_EQ(parse_duration_ms(show_duration(ms)), ms);
  }
}

TEST(CpuLists, AreNumbersAndRanges) {
  EXPECT_EQ(parse_cpu_list("0"), (std::vector<int>{0}));
  EXPECT_EQ(parse_cpu_list("0,2-4,1"), (std::vector<int>{0, 2, 3, 4, 1}));
  for (const char* text : {"", ",", "0,", ",0", "a", "2-1", "0-", "-1", "1--2", "0-4096"}) {
    EXPECT_EQ(parse_cpu_list(text), std::nullopt) << text;
  }
  EXPECT_EQ(show_cpu_list(std::vector<int>{3, 1}), "3,1");
}

TEST(NearMatch, FindsSlipsAndNothingElse) {
  constexpr std::array<std::string_view, 4> known{"workers", "pin", "listen", "listing"};
  EXPECT_EQ(near_match("worker", known), "workers");
  EXPECT_EQ(near_match("wrokers", known), "workers");
  EXPECT_EQ(near_match("listn", known), "listen");
  EXPECT_EQ(near_match("listig", known), "listing");
  EXPECT_EQ(near_match("x", known), std::nullopt);
  EXPECT_EQ(near_match("completely-other", known), std::nullopt);
}

TEST(Seconds, AreDecimalWithOrWithoutAUnit) {
  EXPECT_EQ(parse_seconds("3"), 3.0);
  EXPECT_EQ(parse_seconds("0.5"), 0.5);
  EXPECT_EQ(parse_seconds("500ms"), 0.5);
  EXPECT_EQ(parse_seconds("3s"), 3.0);
  EXPECT_EQ(parse_seconds("1.5m"), 90.0);
  for (const char* wrong : {"", "s", "-1", "+1", "1e3", "inf", "nan", "0x1", "1.2.3", "3 s", "3S",
                            ".", "1,5", "3sec"}) {
    EXPECT_EQ(parse_seconds(wrong), std::nullopt) << wrong;
  }
  for (const double value : {0.0, 0.1, 2.5, 3.0, 1200.0}) {
    EXPECT_EQ(parse_decimal(show_decimal(value)), value);
  }
}

TEST(Shares, ArePercentOrAFractionButNeverAGuess) {
  EXPECT_EQ(parse_share("5%"), 0.05);
  EXPECT_EQ(parse_share("0.05"), 0.05);
  EXPECT_EQ(parse_share("0"), 0.0);
  EXPECT_EQ(parse_share("150%"), 1.5);
  EXPECT_EQ(parse_share("5"), std::nullopt);
  for (const char* wrong : {"", "%", "x", "-5%", "5%%", "5 %", "5 percent"}) {
    EXPECT_EQ(parse_share(wrong), std::nullopt) << wrong;
  }
  EXPECT_EQ(show_share(0.05), "5%");
  EXPECT_EQ(show_share(0.025), "2.5%");
}

}  // namespace
}  // namespace pagewire::cli
