// Perf events, tracepoints and the kernel's symbols, against what children are known to do. What
// the machine or our permission does not give is skipped with the reason.
#include "sys/perf.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include "support/stepping_child.h"
#include "sys/copy_functions.h"
#include "sys/kallsyms.h"
#include "sys/tracepoint.h"

namespace pagewire::sys {
namespace {

using test::SteppingChild;

std::int64_t cpu_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

void spin_ms(int milliseconds) {
  const std::int64_t until = cpu_ns() + milliseconds * std::int64_t{1'000'000};
  volatile unsigned sum = 0;
  while (cpu_ns() < until) {
    for (unsigned i = 0; i < 10'000; ++i) sum = sum + i;
  }
}

std::string text_of(const char* path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

constexpr std::string_view table =
    "ffffffff81000000 T _stext\n"
    "ffffffff81000100 T memcpy\n"
    "ffffffff81000100 T __memcpy\n"
    "ffffffff810001f0 t __pfx_walk\n"
    "ffffffff81000200 t walk\n"
    "ffffffff81000280 D some_data\n"
    "0000000000000000 A per_cpu\n"
    "ffffffffc0000000 t driver_send\t[virtio_net]\n";

TEST(KernelSymbols, FindsTheFunctionThatHoldsAnAddress) {
  const Result<KernelSymbols> symbols = KernelSymbols::parse(table);
  ASSERT_TRUE(symbols);
  EXPECT_EQ(symbols->size(), 4u);
  EXPECT_EQ(symbols->find(0xffffffff81000000)->name, "_stext");
  EXPECT_EQ(symbols->find(0xffffffff810000ff)->name, "_stext");
  EXPECT_EQ(symbols->find(0xffffffff81000100)->name, "memcpy") << "the first of two names";
  EXPECT_EQ(symbols->find(0xffffffff810001f8)->name, "memcpy") << "padding is nobody's";
  EXPECT_EQ(symbols->find(0xffffffff81000200)->name, "walk");
  EXPECT_EQ(symbols->find(0xffffffff810002ff)->name, "walk") << "data is not a function";
  EXPECT_EQ(symbols->find(0xffffffffc0000010)->name, "driver_send");
  EXPECT_EQ(symbols->find(0xffffffffc0000010)->module, "virtio_net");
  EXPECT_EQ(symbols->find(0xffffffff81000010)->module, "");
}

TEST(KernelSymbols, KnowsNothingOutsideOfTheTable) {
  const Result<KernelSymbols> symbols = KernelSymbols::parse(table);
  ASSERT_TRUE(symbols);
  EXPECT_FALSE(symbols->find(0xffffffff80ffffff));
  EXPECT_FALSE(symbols->find(0x401000));
  EXPECT_FALSE(symbols->find(0xffffffffffffffff));
  EXPECT_FALSE(symbols->find_name("per_cpu"));
  EXPECT_EQ(symbols->find_name("walk")->end, 0xffffffffc0000000);
}

TEST(KernelSymbols, SaysWhenTheAddressesAreHidden) {
  const Result<KernelSymbols> hidden =
      KernelSymbols::parse("0000000000000000 T _stext\n0000000000000000 T memcpy\n");
  ASSERT_FALSE(hidden);
  EXPECT_EQ(hidden.error().errno_value, EACCES);
}

TEST(KernelSymbols, RefusesWhatIsNoTable) {
  for (const std::string_view text : {"", "\n\n", "nonsense", "12", "ffffffff81000000 T"}) {
    const Result<KernelSymbols> symbols = KernelSymbols::parse(text);
    ASSERT_FALSE(symbols) << text;
    EXPECT_EQ(symbols.error().errno_value, EINVAL) << text;
  }
}

TEST(KernelSymbols, LoadsThoseOfThisKernel) {
  const Result<KernelSymbols> symbols = KernelSymbols::load();
  if (!symbols) GTEST_SKIP() << describe(symbols.error());
  for (const std::string_view name : {"_copy_to_iter", "do_sys_openat2", "vfs_read"}) {
    const std::optional<KernelFunction> function = symbols->find_name(name);
    if (!function) continue;  // renamed or inlined in this kernel
    EXPECT_EQ(symbols->find(function->begin)->name, name);
    EXPECT_EQ(symbols->find(function->end - 1)->name, name);
    EXPECT_NE(symbols->find(function->begin - 1)->name, name);
  }
  ASSERT_TRUE(symbols->find_name("vfs_read"));
  EXPECT_GT(symbols->size(), 10'000u);
}

TEST(CopyFunctions, AreThoseThatCopyAndNotThoseThatWalk) {
  for (const std::string_view name :
       {"_copy_to_iter", "_copy_from_iter", "rep_movs_alternative", "memcpy_orig",
        "copy_user_enhanced_fast_string", "clear_page_erms", "__arch_copy_to_user",
        "csum_and_copy_from_iter_full", "copy_page_to_iter.part.0"}) {
    EXPECT_TRUE(is_copy_function(name)) << name;
  }
  for (const std::string_view name : {"", ".", "tcp_sendmsg_locked", "skb_copy_datagram_iter",
                                      "filemap_read", "copy_process", "memset", "_copy"}) {
    EXPECT_FALSE(is_copy_function(name)) << name;
  }
}

const Tracepoint sys_enter{.system = "raw_syscalls", .name = "sys_enter"};

TEST(Tracepoints, HaveTheSameNumberHoweverTracefsIsReached) {
  const std::string mounts = text_of("/proc/self/mountinfo");
  const Result<std::uint64_t> detached = id_from_detached_tracefs(sys_enter);
  if (!detached) GTEST_SKIP() << describe(detached.error());
  EXPECT_GT(*detached, 0u);
  EXPECT_EQ(id_of(sys_enter), detached);
  EXPECT_EQ(text_of("/proc/self/mountinfo"), mounts) << "nothing stays mounted";
}

TEST(Tracepoints, SayWhyTheyHaveNone) {
  const Result<std::uint64_t> none = id_of({.system = "raw_syscalls", .name = "no_such"});
  ASSERT_FALSE(none);
  EXPECT_TRUE(none.error().errno_value == ENOENT || none.error().errno_value == EPERM ||
              none.error().errno_value == EACCES)
      << describe(none.error());
}

TEST(Tracepoints, AreNotForNobody) {
  const int status = test::run_as_nobody([] {
    const Result<std::uint64_t> id = id_of(sys_enter);
    if (id) return 0;
    return id.error().errno_value == EPERM || id.error().errno_value == EACCES ? 1 : 2;
  });
  if (status < 0) GTEST_SKIP() << "setresuid is not permitted";
  EXPECT_EQ(status, 1);
}

TEST(PerfCounter, CountsExactlyTheSystemCallsOfTheWindow) {
  const Result<std::uint64_t> id = id_of(sys_enter);
  if (!id) GTEST_SKIP() << describe(id.error());
  constexpr std::uint64_t calls = 12'345;
  SteppingChild child([] {
    for (std::uint64_t i = 0; i < calls; ++i) ::syscall(SYS_getppid);
  });
  ASSERT_TRUE(child.step());  // the first one binds symbols and the like
  Result<PerfCounter> counter = PerfCounter::open_tracepoint(*id, child.pid());
  if (!counter) GTEST_SKIP() << reason_for(PerfEvent::Tracepoint, counter.error());
  ASSERT_TRUE(child.step()) << "before the window";
  for (int window = 0; window < 2; ++window) {
    ASSERT_TRUE(counter->start());
    ASSERT_TRUE(child.step());
    ASSERT_TRUE(counter->stop());
    ASSERT_TRUE(child.step()) << "after the window";
    const Result<CounterReading> reading = counter->read();
    ASSERT_TRUE(reading);
    // And the write and read of the step itself.
    EXPECT_GE(reading->count, calls) << window;
    EXPECT_LE(reading->count, calls + 10) << window;
    EXPECT_EQ(reading->running_ns, reading->enabled_ns);
  }
}

TEST(PerfCounter, CountsCyclesOrSaysThatThereIsNoPmu) {
  SteppingChild child([] { spin_ms(20); });
  Result<PerfCounter> counter = PerfCounter::open(PerfEvent::Cycles, child.pid());
  if (!counter) {
    const std::string reason = reason_for(PerfEvent::Cycles, counter.error());
    EXPECT_NE(reason.find("perf_event_open says E"), std::string::npos) << reason;
    GTEST_SKIP() << reason;
  }
  ASSERT_TRUE(counter->start());
  ASSERT_TRUE(child.step());
  ASSERT_TRUE(counter->stop());
  EXPECT_GT(counter->read()->count, 1'000'000u);
}

TEST(PerfCounter, SaysThatTheProcessHasEnded) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  ::waitpid(pid, nullptr, 0);
  const Result<PerfCounter> counter = PerfCounter::open(PerfEvent::CpuClock, pid);
  ASSERT_FALSE(counter);
  // Whoever may not look at any process is told that first.
  const int error = counter.error().errno_value;
  EXPECT_TRUE(error == ESRCH || error == EACCES || error == EPERM) << describe(counter.error());
}

TEST(PerfCounter, TellsNobodyWhoHasToPermitIt) {
  const pid_t parent = ::getpid();
  const int status = test::run_as_nobody([parent] {
    const Result<PerfCounter> counter = PerfCounter::open(PerfEvent::CpuClock, parent);
    if (counter) return 0;
    const std::string reason = reason_for(PerfEvent::CpuClock, counter.error());
    return reason.starts_with("no permission") && reason.find("paranoid is") != reason.npos ? 1 : 2;
  });
  if (status < 0) GTEST_SKIP() << "setresuid is not permitted";
  EXPECT_EQ(status, 1) << "another user's process was opened, or the reason is not clear";
}

TEST(PerfReasons, NameTheErrno) {
  EXPECT_EQ(reason_for(PerfEvent::Cycles, {"perf_event_open", ENOENT}),
            "no PMU: perf_event_open says ENOENT");
  EXPECT_EQ(reason_for(PerfEvent::LlcLoadMisses, {"perf_event_open", EOPNOTSUPP}),
            "not in this PMU: perf_event_open says EOPNOTSUPP");
  EXPECT_TRUE(reason_for(PerfEvent::CpuClock, {"perf_event_open", EACCES})
                  .starts_with("no permission: perf_event_open says EACCES"));
  EXPECT_TRUE(reason_for(PerfEvent::CpuClock, {"mmap", EPERM})
                  .starts_with("no permission: mmap says EPERM"));
  EXPECT_EQ(reason_for(PerfEvent::Cycles, {"perf_event_open", EMFILE}),
            "perf_event_open: Too many open files");
}

/// A record as the kernel writes it: a header and 64-bit words.
std::vector<unsigned char> record_of(std::uint32_t type, std::vector<std::uint64_t> words,
                                     std::uint16_t misc = 0) {
  const std::size_t size = sizeof(perf_event_header) + words.size() * sizeof(std::uint64_t);
  const perf_event_header header{
      .type = type, .misc = misc, .size = static_cast<std::uint16_t>(size)};
  std::vector<unsigned char> record(size);
  std::memcpy(record.data(), &header, sizeof header);
  std::memcpy(record.data() + sizeof header, words.data(), size - sizeof header);
  return record;
}

TEST(SampleRecords, AreCountedAsWhatTheyTell) {
  SampleRecords records(500);
  std::vector<CpuSample> samples;
  const auto take = [&](const std::vector<unsigned char>& record) {
    records.take(record.data(), samples);
  };
  take(record_of(PERF_RECORD_SAMPLE, {0x1234}, PERF_RECORD_MISC_USER));
  take(record_of(PERF_RECORD_SAMPLE, {0xffff800000001234}, PERF_RECORD_MISC_KERNEL));
  take(record_of(PERF_RECORD_SAMPLE, {0x99}, PERF_RECORD_MISC_HYPERVISOR));
  ASSERT_EQ(samples.size(), 2U);
  EXPECT_EQ(samples[0].address, 0x1234U);
  EXPECT_FALSE(samples[0].in_kernel);
  EXPECT_TRUE(samples[1].in_kernel);
  EXPECT_EQ(records.lost(), 0U);
  take(record_of(PERF_RECORD_LOST, {7, 30}));
  EXPECT_EQ(records.lost(), 30U);
  // Time, id, stream id. As long as ten samples.
  take(record_of(PERF_RECORD_THROTTLE, {100'000, 7, 7}));
  EXPECT_EQ(records.lost(), 31U) << "at least one, also if its end is never told";
  take(record_of(PERF_RECORD_UNTHROTTLE, {105'000, 7, 7}));
  EXPECT_EQ(records.lost(), 40U);
  take(record_of(PERF_RECORD_UNTHROTTLE, {900'000, 7, 7}));
  EXPECT_EQ(records.lost(), 40U) << "an end without a beginning";
  take(record_of(PERF_RECORD_THROTTLE, {1'000'000, 7, 7}));
  take(record_of(PERF_RECORD_UNTHROTTLE, {1'000'100, 7, 7}));
  EXPECT_EQ(records.lost(), 41U) << "shorter than a sample";
  EXPECT_EQ(samples.size(), 2U);
}

TEST(CpuSampler, SeesUserCodeAsUserCode) {
  SteppingChild child([] { spin_ms(200); });
  Result<CpuSampler> sampler = CpuSampler::open(child.pid(), {.period_ns = 500'000});
  if (!sampler) GTEST_SKIP() << reason_for(PerfEvent::CpuClock, sampler.error());
  std::vector<CpuSample> samples;
  ASSERT_TRUE(sampler->start());
  // 400 a step at best; a virtual machine may fire the timer late, or not at all while its CPU is
  // another one's, which counts as time of the child.
  std::size_t steps = 0;
  while (steps < 100 && samples.size() <= 40) {
    ASSERT_TRUE(child.step([&] { sampler->drain(samples); }));
    sampler->drain(samples);
    ++steps;
  }
  ASSERT_TRUE(sampler->stop());
  sampler->drain(samples);
  EXPECT_GT(samples.size(), 40u);
  EXPECT_LT(samples.size(), 800u * steps);
  EXPECT_EQ(sampler->lost(), 0u);
  const auto in_user =
      std::ranges::count_if(samples, [](const CpuSample& sample) { return !sample.in_kernel; });
  EXPECT_GT(in_user, static_cast<std::ptrdiff_t>(samples.size() / 2));
  for (const CpuSample& sample : samples) {
    EXPECT_NE(sample.address, 0u);
    EXPECT_EQ(sample.in_kernel, (sample.address >> 63) == 1) << std::hex << sample.address;
  }
}

TEST(CpuSampler, StandsStillOutsideOfTheWindow) {
  SteppingChild child([] { spin_ms(50); });
  Result<CpuSampler> sampler = CpuSampler::open(child.pid(), {.period_ns = 500'000});
  if (!sampler) GTEST_SKIP() << reason_for(PerfEvent::CpuClock, sampler.error());
  std::vector<CpuSample> samples;
  ASSERT_TRUE(child.step());
  sampler->drain(samples);
  EXPECT_TRUE(samples.empty()) << "before";
  ASSERT_TRUE(sampler->start());
  for (int steps = 0; steps < 100 && samples.empty(); ++steps) {
    ASSERT_TRUE(child.step());
    sampler->drain(samples);
  }
  ASSERT_TRUE(sampler->stop());
  sampler->drain(samples);
  const std::size_t taken = samples.size();
  EXPECT_GT(taken, 0u);
  ASSERT_TRUE(child.step());
  sampler->drain(samples);
  EXPECT_EQ(samples.size(), taken) << "after";
}

// 256 samples fit into a page. Wrapping around many times must give none that is torn.
TEST(CpuSampler, CountsWhatTheRingHadNoRoomForAndGoesOn) {
  SteppingChild child([] { spin_ms(200); });
  Result<CpuSampler> sampler =
      CpuSampler::open(child.pid(), {.period_ns = 100'000, .ring_pages = 1});
  if (!sampler) GTEST_SKIP() << reason_for(PerfEvent::CpuClock, sampler.error());
  std::vector<CpuSample> samples;
  ASSERT_TRUE(sampler->start());
  ASSERT_TRUE(child.step());
  sampler->drain(samples);
  EXPECT_LE(samples.size(), 256u);
  if (samples.size() < 250) GTEST_SKIP() << "the timer of this machine is too slow to fill it";
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(child.step([&] { sampler->drain(samples); }));
  }
  ASSERT_TRUE(sampler->stop());
  sampler->drain(samples);
  EXPECT_GT(sampler->lost(), 0u);
  EXPECT_GT(samples.size(), 512u);
  for (const CpuSample& sample : samples) {
    EXPECT_NE(sample.address, 0u);
    EXPECT_EQ(sample.in_kernel, (sample.address >> 63) == 1) << std::hex << sample.address;
  }
}

}  // namespace
}  // namespace pagewire::sys
