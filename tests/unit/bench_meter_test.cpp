// The meter and the instruments, against what children are known to do.
#include "bench/meter.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <atomic>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "bench/figures.h"
#include "bench/metric.h"
#include "support/position_code.h"
#include "support/stepping_child.h"
#include "sys/fd.h"

namespace pagewire::bench {
namespace {

using test::SteppingChild;

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

rusage own_usage() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage;
}

void spin_s(double seconds) {
  const rusage begin = own_usage();
  volatile unsigned sum = 0;
  for (;;) {
    for (unsigned i = 0; i < 100'000; ++i) sum = sum + i;
    if (seconds_of(own_usage().ru_utime) - seconds_of(begin.ru_utime) > seconds) return;
  }
}

/// Memory that a child writes what it knows of itself to.
template <class T>
class Shared {
 public:
  Shared()
      : memory_(static_cast<T*>(::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~Shared() { ::munmap(memory_, sizeof(T)); }
  Shared(const Shared&) = delete;
  T& operator*() const { return *memory_; }
  T* operator->() const { return memory_; }

 private:
  T* memory_;
};

/// CPU time that the process has had, in the kernel's own account.
double cpu_seconds_of(const SteppingChild& child) {
  clockid_t clock = 0;
  timespec used{};
  EXPECT_EQ(::clock_getcpuclockid(child.pid(), &clock), 0);
  EXPECT_EQ(::clock_gettime(clock, &used), 0);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

MeterSample sample_of(const SteppingChild& child, std::optional<int> cpu = {}) {
  const Result<MeterSample> sample = sample_process(child.pid(), cpu);
  EXPECT_TRUE(sample) << (sample ? "" : describe(sample.error()));
  return sample.value_or(MeterSample{});
}

TEST(Metrics, HaveNamesOfTheirOwnThatAreFoundAgain) {
  EXPECT_EQ(metrics().size(), metric_count);
  for (const MetricInfo& metric : metrics()) {
    EXPECT_EQ(find_metric(metric.name), metric.metric) << metric.name;
    EXPECT_EQ(&info(metric.metric), &metric);
    EXPECT_FALSE(metric.title.empty());
    EXPECT_FALSE(metric.judged && metric.better == Better::Neither) << metric.name;
  }
  EXPECT_FALSE(find_metric("throughput"));
  EXPECT_FALSE(find_metric(""));
}

TEST(Meter, ChargesWhatTheProcessUsedAndNothingElse) {
  const Shared<double> used_s;
  SteppingChild child([&] {
    const rusage before = own_usage();
    spin_s(0.3);
    const rusage after = own_usage();
    *used_s = seconds_of(after.ru_utime) + seconds_of(after.ru_stime) -
              seconds_of(before.ru_utime) - seconds_of(before.ru_stime);
  });
  const MeterSample before = sample_of(child);
  const double cpu_before_s = cpu_seconds_of(child);
  ASSERT_TRUE(child.step());
  const double cpu_after_s = cpu_seconds_of(child);
  const MeterSample after = sample_of(child);
  spin_s(0.05);  // ours is not the child's
  const MeterSample still = sample_of(child);

  const double ran_s = static_cast<double>(after.run_ns - before.run_ns) / 1e9;
  EXPECT_GE(ran_s, *used_s - 0.001);
  // The step's own part is little, but for what a virtual machine charges it for while it stood.
  EXPECT_NEAR(ran_s, cpu_after_s - cpu_before_s, 0.01);
  EXPECT_LT(still.run_ns - after.run_ns, 10'000'000);  // 0, but for a sanitizer's own thread
  // Ticks of 10 ms, rounded at both ends.
  const double user_s = after.user_s - before.user_s;
  const double system_s = after.system_s - before.system_s;
  EXPECT_NEAR(user_s + system_s, ran_s, 0.05);
  EXPECT_GT(user_s, system_s);
  EXPECT_GE(static_cast<double>(after.at_ns - before.at_ns) / 1e9, ran_s);
}

TEST(Meter, CountsVoluntarySwitches) {
  const Shared<long> counted;
  SteppingChild child([&] {
    const long before = own_usage().ru_nvcsw;
    for (int i = 0; i < 50; ++i) {
      const timespec interval{.tv_sec = 0, .tv_nsec = 100'000};
      ::nanosleep(&interval, nullptr);
    }
    *counted = own_usage().ru_nvcsw - before;
  });
  const MeterSample before = sample_of(child);
  ASSERT_TRUE(child.step());
  const MeterSample after = sample_of(child);
  // A sleep that is over before it begins switches to nobody, and a page may have to be read.
  EXPECT_GE(*counted, 40);
  EXPECT_GE(after.voluntary_switches - before.voluntary_switches,
            static_cast<std::uint64_t>(*counted));
  EXPECT_LE(after.voluntary_switches - before.voluntary_switches,
            static_cast<std::uint64_t>(*counted) + 20);
}

struct Schedstat {
  std::int64_t run_ns = 0;
  std::int64_t wait_ns = 0;
};

/// Of all threads of the process, in proc(5)'s own words.
Schedstat schedstat_of(pid_t pid) {
  Schedstat sum;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    std::ifstream file(task.path() / "schedstat");
    Schedstat one;
    EXPECT_TRUE(file >> one.run_ns >> one.wait_ns) << task.path();
    sum.run_ns += one.run_ns;
    sum.wait_ns += one.wait_ns;
  }
  return sum;
}

TEST(Meter, CountsInvoluntarySwitchesAndWaitingWhereTwoShareACpu) {
  const int cpu = ::sched_getcpu();
  const auto go_there = [cpu] {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(cpu), &set);
    ::sched_setaffinity(0, sizeof set, &set);
  };
  const Shared<std::atomic<bool>> has_waited;
  // For as long as the child needs it, a minute at most.
  SteppingChild rival([&] {
    go_there();
    for (int i = 0; i < 600 && !*has_waited; ++i) spin_s(0.1);
  });
  SteppingChild child([&] {
    go_there();
    const auto so_far = [] { return schedstat_of(::getpid()).wait_ns; };
    const long switches = own_usage().ru_nivcsw;
    const std::int64_t until_ns = so_far() + 20'000'000;
    for (int i = 0; i < 600; ++i) {
      spin_s(0.1);
      if (own_usage().ru_nivcsw > switches && so_far() > until_ns) break;
    }
    *has_waited = true;
  });
  const MeterSample before = sample_of(child);
  std::thread with([&] { EXPECT_TRUE(rival.step()); });
  EXPECT_TRUE(child.step());
  with.join();
  // The child sleeps: earlier and later are the same, but for a sanitizer's own thread.
  const Schedstat earlier = schedstat_of(child.pid());
  const MeterSample after = sample_of(child);
  const Schedstat later = schedstat_of(child.pid());
  EXPECT_GT(after.involuntary_switches, before.involuntary_switches);
  EXPECT_GT(after.wait_ns - before.wait_ns, 10'000'000);
  EXPECT_GE(after.wait_ns, earlier.wait_ns);
  EXPECT_LE(after.wait_ns, later.wait_ns);
  EXPECT_GE(after.run_ns, earlier.run_ns);
  EXPECT_LE(after.run_ns, later.run_ns);
}

TEST(Meter, CountsFaultsOfFreshPages) {
  const Shared<long> counted;
  SteppingChild child([&] {
    constexpr std::size_t pages = 300;
    const auto page_bytes = static_cast<std::size_t>(::getpagesize());
    const long before = own_usage().ru_minflt;
    auto* const memory = static_cast<char*>(::mmap(
        nullptr, pages * page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ::madvise(memory, pages * page_bytes, MADV_NOHUGEPAGE);
    for (std::size_t i = 0; i < pages; ++i) {
      test::fill_positions(i * page_bytes, {memory + i * page_bytes, 8});
    }
    ::munmap(memory, pages * page_bytes);
    *counted = own_usage().ru_minflt - before;
  });
  ASSERT_TRUE(child.step());  // whatever is faulted in only once
  const MeterSample before = sample_of(child);
  ASSERT_TRUE(child.step());
  const MeterSample after = sample_of(child);
  const auto faults = static_cast<double>(after.minor_faults - before.minor_faults);
  EXPECT_GE(faults, 300);
  EXPECT_NEAR(faults, static_cast<double>(*counted), 50);
}

TEST(Meter, AddsUpAllThreads) {
  const Shared<long> counted;
  SteppingChild child([&] {
    const long before = own_usage().ru_nvcsw;  // of all threads
    // Left running (asleep) until the child ends: what a thread counted goes with it.
    static std::atomic<int> slept = 0;
    std::thread([] {
      for (int i = 0; i < 50; ++i) ::usleep(100);
      slept = 1;
      for (;;) ::pause();
    }).detach();
    while (slept == 0) ::usleep(1000);
    spin_s(0.05);
    *counted = own_usage().ru_nvcsw - before;
  });
  const MeterSample before = sample_of(child);
  ASSERT_TRUE(child.step());
  const MeterSample after = sample_of(child);
  EXPECT_GE(*counted, 40);
  EXPECT_GE(after.voluntary_switches - before.voluntary_switches,
            static_cast<std::uint64_t>(*counted));
  EXPECT_GE(after.run_ns - before.run_ns, 50'000'000);
}

/// The seconds of one column of a line of /proc/stat.
double stat_seconds(const std::string& cpu, std::size_t column) {
  std::ifstream stat("/proc/stat");
  for (std::string line; std::getline(stat, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    if (name != cpu) continue;
    double ticks = 0;
    for (std::size_t i = 0; i <= column; ++i) words >> ticks;
    return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }
  return -1;
}

TEST(Meter, TakesSoftirqAndStealFromTheirColumns) {
  constexpr std::size_t softirq = 6;
  constexpr std::size_t steal = 7;
  SteppingChild child([] {});
  const double softirq_before = stat_seconds("cpu0", softirq);
  const double steal_before = stat_seconds("cpu", steal);
  const MeterSample sample = sample_of(child, 0);
  ASSERT_TRUE(sample.softirq_s);
  EXPECT_GE(*sample.softirq_s, softirq_before);
  EXPECT_LE(*sample.softirq_s, stat_seconds("cpu0", softirq));
  EXPECT_GE(sample.steal_s, steal_before);
  EXPECT_LE(sample.steal_s, stat_seconds("cpu", steal));
}

TEST(Meter, LooksAtTheCpuOnlyWhenItIsToldWhich) {
  SteppingChild child([] {});
  const MeterSample unpinned = sample_of(child);
  EXPECT_FALSE(unpinned.softirq_s);
  EXPECT_FALSE(unpinned.ksoftirqd_ns);
  const MeterSample pinned = sample_of(child, 0);
  ASSERT_TRUE(pinned.softirq_s);
  EXPECT_GE(*pinned.softirq_s, 0);
  EXPECT_LT(*pinned.softirq_s, pinned.machine_s);
  EXPECT_LE(pinned.steal_s, pinned.machine_s);
  EXPECT_GT(pinned.machine_s, 1);
  const MeterSample absent = sample_of(child, 9'999);
  EXPECT_FALSE(absent.softirq_s);
  EXPECT_FALSE(absent.ksoftirqd_ns);
}

TEST(Meter, FindsTheSoftirqThreadOfTheCpu) {
  SteppingChild child([] {});
  const MeterSample sample = sample_of(child, 0);
  if (!sample.ksoftirqd_ns) GTEST_SKIP() << "no kernel threads to be seen from here";
  EXPECT_GT(*sample.ksoftirqd_ns, 0);
}

TEST(Meter, SaysThatTheProcessIsGone) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  ::waitpid(pid, nullptr, 0);
  const Result<MeterSample> sample = sample_process(pid, 0);
  ASSERT_FALSE(sample);
  EXPECT_EQ(sample.error().errno_value, ESRCH);
}

TEST(Tsc, HasOneRate) {
  const std::optional<double> once = tsc_hz();
  if (!once) GTEST_SKIP() << "no invariant TSC";
  const std::optional<double> again = tsc_hz();
  ASSERT_TRUE(again);
  EXPECT_GT(*once, 0.2e9);
  EXPECT_LT(*once, 20e9);
  EXPECT_NEAR(*once / *again, 1, 0.01);
}

/// 4 MiB of the page cache.
constexpr std::size_t cached_bytes = 4 * 1024 * 1024;

sys::Fd make_cached_file() {
  sys::Fd fd(::memfd_create("bench_meter_test", MFD_CLOEXEC));
  const std::string data = test::positions(0, cached_bytes);
  EXPECT_EQ(::pwrite(fd.get(), data.data(), data.size(), 0), static_cast<ssize_t>(data.size()));
  return fd;
}

/// Reads it over and over: what is not copying is looking its pages up.
void copy_from_the_page_cache(const sys::Fd& fd, std::vector<char>& into) {
  const double until = seconds_of(own_usage().ru_stime) + 0.3;
  while (seconds_of(own_usage().ru_stime) < until) {
    // Not pread: a sanitizer would look at each byte after the kernel.
    const long n = ::syscall(SYS_pread64, fd.get(), into.data(), into.size(), 0L);
    if (n != static_cast<long>(into.size())) ::_exit(1);
  }
}

Counts measure(SteppingChild& child, Instruments::Kind kind) {
  Instruments instruments = Instruments::open(child.pid(), kind);
  instruments.begin();
  EXPECT_TRUE(child.step([&] { instruments.drain(); }));
  instruments.end();
  EXPECT_TRUE(child.step()) << "after the window";
  return {.cycles = instruments.cycles(),
          .llc_load_misses = instruments.llc_load_misses(),
          .syscalls = instruments.syscalls(),
          .copy_share_percent = instruments.copy_share_percent()};
}

TEST(Instruments, AlwaysHaveAValueOrAReason) {
  SteppingChild child([] { spin_s(0.02); });
  for (const auto kind : {Instruments::Kind::Counters, Instruments::Kind::Tracing}) {
    const Counts counts = measure(child, kind);
    for (const Figure& figure :
         {counts.cycles, counts.llc_load_misses, counts.syscalls, counts.copy_share_percent}) {
      EXPECT_NE(figure.value.has_value(), !figure.reason.empty()) << figure.reason;
    }
    std::printf("cycles: %s; LLC misses: %s\n", counts.cycles.reason.c_str(),
                counts.llc_load_misses.reason.c_str());
  }
}

TEST(Instruments, CountSystemCalls) {
  SteppingChild child([] {
    for (int i = 0; i < 5'000; ++i) ::syscall(SYS_getppid);
  });
  const Counts counts = measure(child, Instruments::Kind::Tracing);
  if (!counts.syscalls.value) GTEST_SKIP() << counts.syscalls.reason;
  EXPECT_GE(*counts.syscalls.value, 5'000);
  EXPECT_LE(*counts.syscalls.value, 5'010);
  EXPECT_EQ(counts.syscalls.source, Source::Measured);
}

TEST(Instruments, SeeThatCopyingIsCopying) {
  const sys::Fd fd = make_cached_file();
  std::vector<char> into(cached_bytes);
  SteppingChild child([&] { copy_from_the_page_cache(fd, into); });
  const Counts counts = measure(child, Instruments::Kind::Tracing);
  if (!counts.copy_share_percent.value) GTEST_SKIP() << counts.copy_share_percent.reason;
  EXPECT_GT(*counts.copy_share_percent.value, 40);  // two thirds, where perf(1) was asked as well
  EXPECT_LE(*counts.copy_share_percent.value, 100);
}

TEST(Instruments, SeeThatCountingIsNotCopying) {
  SteppingChild child([] { spin_s(0.3); });
  const Counts counts = measure(child, Instruments::Kind::Tracing);
  if (!counts.copy_share_percent.value) GTEST_SKIP() << counts.copy_share_percent.reason;
  EXPECT_LT(*counts.copy_share_percent.value, 10);
}

TEST(Instruments, LeaveTracingOutUnlessAskedFor) {
  SteppingChild child([] { spin_s(0.02); });
  const Counts counts = measure(child, Instruments::Kind::Counters);
  EXPECT_EQ(counts.syscalls.reason, "only measured in the instrumented round");
  EXPECT_EQ(counts.copy_share_percent.reason, "only measured in the instrumented round");
}

TEST(Instruments, GiveNoShareOfNothing) {
  SteppingChild child([] {});
  Instruments instruments = Instruments::open(child.pid(), Instruments::Kind::Tracing);
  EXPECT_FALSE(instruments.copy_share_percent().value) << "the window has not been";
  EXPECT_FALSE(instruments.syscalls().value);
  instruments.begin();
  instruments.end();
  const Figure share = instruments.copy_share_percent();
  EXPECT_FALSE(share.value);
  EXPECT_FALSE(share.reason.empty());
  std::printf("%s\n", share.reason.c_str());
}

TEST(Instruments, SaySoWhenTheProcessHasEnded) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  ::waitpid(pid, nullptr, 0);
  Instruments instruments = Instruments::open(pid, Instruments::Kind::Tracing);
  instruments.begin();
  instruments.drain();
  instruments.end();
  EXPECT_FALSE(instruments.syscalls().value);
  EXPECT_FALSE(instruments.copy_share_percent().value);
  EXPECT_FALSE(instruments.copy_share_percent().reason.empty());
}

TEST(Instruments, TellNobodyWhatIsMissing) {
  const pid_t parent = ::getpid();
  const int status = test::run_as_nobody([parent] {
    Instruments instruments = Instruments::open(parent, Instruments::Kind::Tracing);
    instruments.begin();
    instruments.end();
    for (const Figure& figure : {instruments.cycles(), instruments.syscalls(),
                                 instruments.llc_load_misses(), instruments.copy_share_percent()}) {
      if (figure.value || figure.reason.empty()) return 1;
    }
    return 0;
  });
  if (status < 0) GTEST_SKIP() << "setresuid is not permitted";
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace pagewire::bench
