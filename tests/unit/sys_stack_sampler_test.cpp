// Sampling of whole processes, on this one. What the machine or our permission does not give is
// skipped with the reason.
#include "sys/stack_sampler.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <set>
#include <thread>

namespace pagewire::sys {
namespace {

std::int64_t cpu_ns(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

void spin_ms(int milliseconds) {
  const std::int64_t until =
      cpu_ns(CLOCK_THREAD_CPUTIME_ID) + milliseconds * std::int64_t{1'000'000};
  volatile unsigned sum = 0;
  while (cpu_ns(CLOCK_THREAD_CPUTIME_ID) < until) {
    for (unsigned i = 0; i < 10'000; ++i) sum = sum + i;
  }
}

TEST(ThreadsOf, AreThoseOfTheProcess) {
  const Result<std::vector<pid_t>> threads = threads_of(::getpid());
  ASSERT_TRUE(threads);
  EXPECT_NE(std::ranges::find(*threads, ::getpid()), threads->end());
  EXPECT_EQ(threads_of(999'999'999).error().errno_value, ENOENT);
}

TEST(StackSampler, SeesThreadsThatBeginLater) {
  const std::vector<pid_t> threads = threads_of(::getpid()).value();
  Result<StackSampler> sampler = StackSampler::open(threads, {.kernel = false});
  if (!sampler) GTEST_SKIP() << reason_for(PerfEvent::CpuClock, sampler.error());
  ASSERT_TRUE(sampler->start());
  std::size_t samples = 0;
  std::set<pid_t> seen;
  const auto look_at = [&](const StackSample& sample) {
    ++samples;
    seen.insert(sample.thread);
    EXPECT_EQ(sample.process, ::getpid());
    EXPECT_TRUE(sample.kernel.empty());
#if defined(__x86_64__) || defined(__aarch64__)
    EXPECT_FALSE(sample.state.registers.empty());
    EXPECT_EQ(sample.state.pc, sample.user.front());
    EXPECT_FALSE(sample.state.stack.empty());
#endif
  };
  // More than once where the CPU is another machine's meanwhile, which counts as the thread's time.
  for (int threads_begun = 0; threads_begun < 100 && samples <= 30; ++threads_begun) {
    std::thread later([] { spin_ms(300); });
    later.join();
    sampler->drain(look_at);
  }
  ASSERT_TRUE(sampler->stop());
  sampler->drain(look_at);
  EXPECT_GT(samples, 30U);
  EXPECT_TRUE(std::ranges::any_of(seen, [&](pid_t thread) {
    return std::ranges::find(threads, thread) == threads.end();
  })) << "a thread that was not there at the start";
  sampler->drain([](const StackSample&) { FAIL() << "the ring was emptied"; });
}

TEST(StackSampler, SaysWhoHasEnded) {
  const std::vector<pid_t> nobody{999'999'999};
  EXPECT_EQ(StackSampler::open(nobody, {}).error().errno_value, ESRCH);
}

TEST(SyscallSampler, CountsAllAndKeepsSome) {
  const std::vector<pid_t> threads = threads_of(::getpid()).value();
  constexpr int calls = 10'000;
  Result<SyscallSampler> sampler = SyscallSampler::open(threads, 100);
  if (!sampler) GTEST_SKIP() << describe(sampler.error());
  ASSERT_TRUE(sampler->start());
  for (int i = 0; i < calls; ++i) ::syscall(SYS_getppid);
  ASSERT_TRUE(sampler->stop());
  std::vector<SyscallSample> samples;
  sampler->drain(samples);
  EXPECT_GE(sampler->calls(), static_cast<std::uint64_t>(calls));
  EXPECT_LT(sampler->calls(), static_cast<std::uint64_t>(calls + 100));
  const auto ours = std::ranges::count_if(samples, [](const SyscallSample& sample) {
    return sample.number == SYS_getppid && sample.result == ::getppid();
  });
  EXPECT_GE(ours, calls / 100 - 2);
}

}  // namespace
}  // namespace pagewire::sys
