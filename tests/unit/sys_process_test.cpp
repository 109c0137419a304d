// What the kernel says of this process, against what can be known otherwise.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <ctime>
#include <vector>

#include "sys/fd.h"
#include "sys/process.h"

namespace pagewire::sys {
namespace {

TEST(ProcessFacts, CountsDescriptors) {
  const std::uint64_t before = process_facts().open_descriptors.value();
  std::vector<Fd> more;
  for (int i = 0; i < 7; ++i) more.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(process_facts().open_descriptors.value(), before + 7);
  EXPECT_GT(process_facts().most_descriptors.value(), before);
}

TEST(ProcessFacts, KnowsWhenItBeganAndHowMuchItHas) {
  const ProcessFacts facts = process_facts();
  const auto now_s = static_cast<double>(std::time(nullptr));
  EXPECT_LE(facts.started_at_s.value(), now_s + 1);
  EXPECT_GT(facts.started_at_s.value(), now_s - 600);
  EXPECT_EQ(process_facts().started_at_s, facts.started_at_s) << "always the same";
  EXPECT_GT(facts.resident.value().value, 100 * kib);
  EXPECT_TRUE(facts.pinned.has_value());
}

TEST(CpuTime, GrowsWithWork) {
  const CpuTime before = thread_cpu_time();
  const std::clock_t end = std::clock() + CLOCKS_PER_SEC / 20;
  while (std::clock() < end) {
  }
  const CpuTime after = thread_cpu_time();
  EXPECT_GE(after.user_us + after.system_us, before.user_us + before.system_us + 30'000);
  const CpuTime all = process_facts().cpu;
  EXPECT_GE(all.user_us + all.system_us, after.user_us + after.system_us);
}

TEST(HostTcp, SegmentsOnlyGrow) {
  const HostTcp before = host_tcp().value();
  EXPECT_GE(host_tcp().value().sent_segments, before.sent_segments);
}

}  // namespace
}  // namespace pagewire::sys
