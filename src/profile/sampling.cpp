// The run: find the processes, sample their stacks, count their system calls in the last tenth, and
// put it together. What cannot be had (the kernel's part, names, tracepoints) leaves a note, and a
// partial report.
#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "profile/profile.h"
#include "profile/stacks.h"
#include "profile/syscalls.h"
#include "profile/target.h"
#include "profile/user_symbols.h"
#include "profile/verdict.h"
#include "sys/capabilities.h"
#include "sys/clock.h"
#include "sys/kallsyms.h"
#include "sys/perf.h"
#include "sys/stack_sampler.h"
#include "sys/text_file.h"

namespace pagewire::profile {

namespace {

constexpr std::uint64_t every_call = 101;  // a prime: calls come in patterns
constexpr std::int64_t pause_ns = 20'000'000;

std::vector<pid_t> all_threads(const std::vector<Process>& processes) {
  std::vector<pid_t> threads;
  for (const Process& process : processes) {
    const Result<std::vector<pid_t>> found = sys::threads_of(process.pid);
    if (found) threads.insert(threads.end(), found->begin(), found->end());
  }
  return threads;
}

std::string owner_of(pid_t process) {
  struct stat status {};
  if (::stat(fmt::format("/proc/{}", process).c_str(), &status) != 0) return "nobody any more";
  const passwd* const user = ::getpwuid(status.st_uid);
  return user == nullptr ? fmt::format("user {}", status.st_uid) : user->pw_name;
}

bool is_ours(pid_t process) {
  struct stat status {};
  return ::stat(fmt::format("/proc/{}", process).c_str(), &status) == 0 &&
         status.st_uid == ::geteuid();
}

/// Of several by one name those that are ours, where only those may be sampled.
void leave_out_others(Report& report) {
  const bool may_all = sys::has_capability(sys::Capability::PerfMon) ||
                       sys::has_capability(sys::Capability::SysAdmin);
  const auto others = std::stable_partition(report.processes.begin(), report.processes.end(),
                                            [](const Process& each) { return is_ours(each.pid); });
  const auto count = report.processes.end() - others;
  if (may_all || count == 0 || others == report.processes.begin()) return;
  report.notes.push_back(
      fmt::format("{} of that name left out, being {}'s: needs root, or "
                  "CAP_PERFMON and CAP_SYS_PTRACE",
                  count, owner_of(others->pid)));
  report.processes.erase(others, report.processes.end());
}

/// As often as wanted, if the kernel allows it: where interrupts take long it lowers its limit, and
/// refuses (EINVAL) what is above it.
unsigned allowed_frequency_hz() {
  constexpr unsigned wanted_hz = 997;  // a prime: nothing else comes in its rhythm
  constexpr unsigned least_hz = 29;
  unsigned limit_hz = wanted_hz;
  const std::string text = sys::first_line_of("/proc/sys/kernel/perf_event_max_sample_rate");
  std::from_chars(text.data(), text.data() + text.size(), limit_hz);
  return std::clamp(limit_hz, least_hz, wanted_hz);
}

/// One line: why no sample can be taken.
std::string why_not(const Process& process, sys::PerfEvent event, const Error& error) {
  const std::string who = fmt::format("{} ({})", process.pid, process.name);
  switch (error.errno_value) {
    case EACCES:  // kernel.perf_event_paranoid, or the process is another user's
    case EPERM:
      if (!is_ours(process.pid) && ::geteuid() != 0) {
        return fmt::format("{} belongs to {}: needs root, or CAP_PERFMON and CAP_SYS_PTRACE", who,
                           owner_of(process.pid));
      }
      return fmt::format("{} cannot be sampled: {}", who, sys::reason_for(event, error));
    case EMFILE:  // an event for each thread on each CPU
      return fmt::format("{} has too many threads for this limit of open files (ulimit -n)", who);
    case ESRCH:
      return fmt::format("{} has ended", who);
    default:
      return fmt::format("{} cannot be sampled: {}", who, sys::reason_for(event, error));
  }
}

struct Opened {
  sys::StackSampler sampler;
  std::string event;
};

/// Cycles, else the CPU's clock; with the kernel's part, else without.
tl::expected<Opened, std::string> open_sampler(const std::vector<Process>& processes,
                                               std::span<const pid_t> threads, Report& report) {
  Error last{};
  for (const bool kernel : {true, false}) {
    for (const sys::PerfEvent event : {sys::PerfEvent::Cycles, sys::PerfEvent::CpuClock}) {
      Result<sys::StackSampler> sampler = sys::StackSampler::open(
          threads, {.event = event, .frequency_hz = report.frequency_hz, .kernel = kernel});
      if (sampler) {
        report.kernel_seen = kernel;
        return Opened{.sampler = std::move(*sampler),
                      .event = event == sys::PerfEvent::Cycles ? "cycles" : "cpu-clock"};
      }
      last = sampler.error();
    }
    // Anything but permission is the same without the kernel's part.
    if (last.errno_value != EACCES && last.errno_value != EPERM) break;
  }
  return tl::unexpected(why_not(processes.front(), sys::PerfEvent::CpuClock, last));
}

/// Turns samples into stacks of names.
class Gatherer {
 public:
  explicit Gatherer(const std::vector<Process>& processes, const sys::KernelSymbols* symbols)
      : kernel_(symbols) {
    for (const Process& process : processes) user_.emplace(process.pid, UserSymbols(process.pid));
  }
  void take(const sys::StackSample& sample) {
    user_samples_ += sample.kernel.empty() ? 1 : 0;
    std::vector<Frame> frames;
    for (const std::uint64_t address : sample.kernel) {
      frames.push_back(kernel_frame(kernel_, address));
    }
    const auto symbols = user_.find(sample.process);
    if (symbols != user_.end()) {
      for (const std::uint64_t address : symbols->second.unwind(sample)) {
        frames.push_back(symbols->second.frame_of(address));
      }
    } else if (!sample.user.empty()) {  // a process that was forked meanwhile
      frames.push_back({.function = "[child]", .module = "[child]", .in_kernel = false});
    }
    if (!frames.empty()) stacks_.add(frames);
  }
  void refresh() {
    for (auto& [pid, symbols] : user_) symbols.refresh();
  }
  bool knows_user() const {
    return std::ranges::any_of(user_, [](const auto& each) { return each.second.is_known(); });
  }
  const Stacks& stacks() const { return stacks_; }
  /// That were taken in user mode.
  std::uint64_t user_samples() const { return user_samples_; }

 private:
  const sys::KernelSymbols* kernel_;
  std::map<pid_t, UserSymbols> user_;
  std::uint64_t user_samples_ = 0;
  Stacks stacks_;
};

bool any_lives(const std::vector<Process>& processes) {
  return std::ranges::any_of(processes,
                             [](const Process& process) { return is_alive(process.pid); });
}

/// Calls `work` every 20 ms until the time is over, somebody asks to stop, or all have ended.
/// Seconds that it took.
template <class Work>
double for_a_while(double seconds, const Settings& settings, const std::vector<Process>& processes,
                   Work work) {
  const std::int64_t begin_ns = sys::monotonic_ns();
  const auto passed_s = [begin_ns] {
    return static_cast<double>(sys::monotonic_ns() - begin_ns) / 1e9;
  };
  while (passed_s() < seconds && any_lives(processes)) {
    if (settings.stop_asked && settings.stop_asked()) break;
    constexpr timespec pause{.tv_sec = 0, .tv_nsec = pause_ns};
    ::nanosleep(&pause, nullptr);  // EINTR: a shorter one will do
    work();
  }
  return passed_s();
}

CpuUse use_of_all(const std::vector<Process>& processes) {
  CpuUse all;
  for (const Process& process : processes) {
    const CpuUse use = cpu_use_of(process.pid);
    all.user_s += use.user_s;
    all.system_s += use.system_s;
  }
  return all;
}

/// "" or why there are none.
std::string count_syscalls(const Settings& settings, std::span<const pid_t> threads, double seconds,
                           Report& report) {
  Result<sys::SyscallSampler> sampler = sys::SyscallSampler::open(threads, every_call);
  if (!sampler) {
    const Error& error = sampler.error();
    const bool refused = error.errno_value == EACCES || error.errno_value == EPERM;
    return refused ? fmt::format("tracepoints are root's here ({}: {})", error.operation,
                                 std::strerror(error.errno_value))
                   : "the tracepoint raw_syscalls:sys_exit: " + describe(error);
  }
  std::vector<sys::SyscallSample> samples;
  if (const Result<void> started = sampler->start(); !started) return describe(started.error());
  const double took_s =
      for_a_while(seconds, settings, report.processes, [&] { sampler->drain(samples); });
  (void)sampler->stop();
  sampler->drain(samples);
  if (samples.empty()) return "it made hardly any system call";
  report.syscalls =
      uses_of(samples, {.calls = sampler->calls(), .seconds = std::max(took_s, 0.001)});
  return {};
}

std::string why_hidden(const Error& error) {
  // EACCES: every address is zero; ENOENT: no CONFIG_KALLSYMS.
  if (error.errno_value != EACCES) return "/proc/kallsyms: " + describe(error);
  return fmt::format(
      "the addresses in /proc/kallsyms are hidden (kernel.kptr_restrict is {}; needs "
      "CAP_SYSLOG)",
      sys::first_line_of("/proc/sys/kernel/kptr_restrict"));
}

void add_notes(const Settings& settings, const Gatherer& gatherer, Report& report) {
  if (!report.kernel_seen) {
    report.notes.push_back(fmt::format(
        "the kernel's part is missing: kernel.perf_event_paranoid is {}, and there is no "
        "CAP_PERFMON; the shares are of user mode alone",
        sys::first_line_of("/proc/sys/kernel/perf_event_paranoid")));
  }
  if (!gatherer.knows_user()) {
    report.notes.emplace_back(
        "the programs' maps cannot be read, so their functions have no names "
        "(needs CAP_SYS_PTRACE)");
  }
  if (report.lost > 0) report.notes.push_back(fmt::format("{} samples were lost", report.lost));
  if (!any_lives(report.processes)) report.notes.emplace_back("it ended meanwhile");
  if (settings.stop_asked && settings.stop_asked())
    report.notes.emplace_back("it was stopped early");
  if (report.samples > 0 || report.processes.size() != 1) return;
  const std::string children = children_text(report.processes.front().pid);
  if (!children.empty()) {
    report.notes.push_back("its work may be its children's: profile " + children);
  }
}

}  // namespace

tl::expected<Report, std::string> profile(const Settings& settings) {
  auto processes = find_processes(settings.target);
  if (!processes) return tl::unexpected(processes.error());
  Report report;
  report.processes = std::move(*processes);
  leave_out_others(report);
  report.frequency_hz = allowed_frequency_hz();
  const std::vector<pid_t> threads = all_threads(report.processes);
  auto opened = open_sampler(report.processes, threads, report);
  if (!opened) return tl::unexpected(opened.error());
  report.event = opened->event;
  const Result<sys::KernelSymbols> symbols = sys::KernelSymbols::load();
  report.kernel_named = symbols.has_value();
  if (!symbols && report.kernel_seen) {
    report.notes.push_back("kernel functions have no names: " + why_hidden(symbols.error()));
  }
  Gatherer gatherer(report.processes, symbols ? &*symbols : nullptr);
  const auto take = [&] {
    opened->sampler.drain([&](const sys::StackSample& sample) { gatherer.take(sample); });
  };
  const CpuUse before = use_of_all(report.processes);
  if (const Result<void> started = opened->sampler.start(); !started) {
    return tl::unexpected(describe(started.error()));
  }
  const double counting_s = std::clamp(settings.seconds / 10, 0.1, 1.0);
  report.seconds = for_a_while(std::max(settings.seconds - counting_s, settings.seconds / 2),
                               settings, report.processes, take);
  (void)opened->sampler.stop();
  const bool all_live = std::ranges::all_of(
      report.processes, [](const Process& process) { return is_alive(process.pid); });
  const CpuUse after = use_of_all(report.processes);
  gatherer.refresh();
  take();
  report.lost = opened->sampler.lost();
  gatherer.stacks().write_to(report);
  // Who has ended took their accounts along: then the samples are what is known.
  const double sample_s = 1.0 / report.frequency_hz;
  const CpuUse used =
      all_live ? CpuUse{.user_s = after.user_s - before.user_s,
                        .system_s = after.system_s - before.system_s}
               : CpuUse{.user_s = static_cast<double>(gatherer.user_samples()) * sample_s,
                        .system_s = static_cast<double>(report.samples - gatherer.user_samples()) *
                                    sample_s};
  report.user_seconds = std::max(used.user_s, 0.0);
  report.cpu_seconds = report.user_seconds + std::max(used.system_s, 0.0);
  report.no_syscalls = count_syscalls(settings, all_threads(report.processes), counting_s, report);
  add_notes(settings, gatherer, report);
  report.verdict = judge(report);
  return report;
}

}  // namespace pagewire::profile
