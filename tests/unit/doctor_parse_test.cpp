// What doctor reads in /proc, /sys and cgroups, as text.
#include "doctor/parse.h"

#include <gtest/gtest.h>

namespace pagewire::doctor {
namespace {

TEST(Parse, Numbers) {
  EXPECT_EQ(parse_numbers("4096\t16384\t4194304\n"),
            (std::vector<std::uint64_t>{4096, 16384, 4194304}));
  EXPECT_EQ(parse_numbers("1 2 three 4"), (std::vector<std::uint64_t>{1, 2}));
  EXPECT_TRUE(parse_numbers("").empty());
  EXPECT_TRUE(parse_numbers("99999999999999999999999").empty());
  EXPECT_EQ(parse_number(" 1048576\n"), 1048576U);
  EXPECT_FALSE(parse_number("-1"));
  EXPECT_FALSE(parse_number("max"));
}

TEST(Parse, TheChosenWord) {
  EXPECT_EQ(parse_chosen("always [madvise] never\n"), "madvise");
  EXPECT_EQ(parse_chosen("always madvise never"), "");
  EXPECT_EQ(parse_chosen("] ["), "");
  EXPECT_EQ(parse_chosen(""), "");
}

TEST(Parse, MasksAndListsOfCpus) {
  EXPECT_EQ(count_cpus_in_mask("3\n"), 2U);
  EXPECT_EQ(count_cpus_in_mask("00000001,ffffffff"), 33U);
  EXPECT_EQ(count_cpus_in_mask("0"), 0U);
  EXPECT_EQ(count_cpus_in_mask("xyz"), 0U);
  EXPECT_EQ(parse_cpu_list("0-3,8\n"), (std::vector<int>{0, 1, 2, 3, 8}));
  EXPECT_EQ(parse_cpu_list("5"), std::vector<int>{5});
  EXPECT_TRUE(parse_cpu_list("").empty());
  EXPECT_TRUE(parse_cpu_list("0-99999999").empty()) << "a machine has no such CPU";
  EXPECT_TRUE(parse_cpu_list("3-1").empty());
}

TEST(Parse, ValuesBehindNames) {
  constexpr std::string_view text = "TlsCurrTxSw    \t3\nTlsTxSw \t12\nTlsTxDevice x\n";
  EXPECT_EQ(value_of(text, "TlsTxSw"), 12U);
  EXPECT_EQ(value_of(text, "TlsCurrTxSw"), 3U);
  EXPECT_FALSE(value_of(text, "TlsTx")) << "only a whole name";
  EXPECT_FALSE(value_of(text, "TlsTxDevice"));
  EXPECT_FALSE(value_of("", "a"));
}

TEST(Parse, CpuTimes) {
  const auto times = parse_cpu_times("cpu  10 1 20 300 4 0 6 50 7 0\ncpu0 1 2 3 4 5 6 7 8\n");
  ASSERT_TRUE(times);
  EXPECT_EQ(times->steal, 50U);
  EXPECT_EQ(times->total, 391U) << "guest time is part of user time";
  EXPECT_FALSE(parse_cpu_times("cpu0 1 2 3 4 5 6 7 8"));
  EXPECT_FALSE(parse_cpu_times("cpu 1 2 3"));
  EXPECT_FALSE(parse_cpu_times(""));
}

TEST(Parse, ControlGroups) {
  const auto unified = parse_cgroup("0::/user.slice/a:b\n", "cpu");
  ASSERT_TRUE(unified);
  EXPECT_EQ(unified->path, "/user.slice/a:b");
  EXPECT_TRUE(unified->unified);
  const auto first = parse_cgroup("4:cpu,cpuacct:/box\n3:memory:/m\n0::/x\n", "cpu");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->path, "/box");
  EXPECT_FALSE(first->unified);
  EXPECT_EQ(parse_cgroup("4:cpuacct:/box\n0::/x\n", "cpu")->path, "/x") << "another controller";
  EXPECT_FALSE(parse_cgroup("4:cpuset:/\n", "cpu"));
  EXPECT_FALSE(parse_cgroup("", "cpu"));
}

TEST(Parse, CpuLimits) {
  EXPECT_EQ(parse_cpu_max("150000 100000\n"), 1.5);
  EXPECT_FALSE(parse_cpu_max("max 100000"));
  EXPECT_FALSE(parse_cpu_max("-1 100000")) << "cgroup 1 says no limit so";
  EXPECT_FALSE(parse_cpu_max("100000 0"));
  EXPECT_FALSE(parse_cpu_max(""));
}

}  // namespace
}  // namespace pagewire::doctor
