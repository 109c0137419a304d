// sample_process of meter.h: a handful of small files, into buffers on the stack.
#include "bench/meter.h"

#include <dirent.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <string_view>
#include <utility>

#include "sys/clock.h"
#include "sys/text_file.h"

namespace pagewire::bench {

namespace {

// /proc/PID/status on a machine with thousands of CPUs is the longest: two masks of them.
using Buffer = std::array<char, 16 * 1024>;

template <class... Parts>
Result<std::string_view> read_proc(Buffer& buffer, fmt::format_string<Parts...> path,
                                   Parts&&... parts) {
  std::array<char, 64> name{};  // zeros behind the text end it
  fmt::format_to_n(name.data(), name.size() - 1, path, std::forward<Parts>(parts)...);
  return sys::read_text(name.data(), buffer);
}

// A number in decimal, and what stands between it and the next one is skipped. 0 at the end.
std::uint64_t next_number(std::string_view& text) {
  while (!text.empty() && (text.front() < '0' || text.front() > '9')) text.remove_prefix(1);
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()));
  return value;
}

double ticks_to_s(std::uint64_t ticks) {
  return static_cast<double>(ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

// Up to this nanosecond, also of a thread that runs just now on another CPU and of those that have
// ended; schedstat has the same count as the last tick left it.
Result<std::int64_t> process_run_ns(pid_t pid) {
  clockid_t clock{};
  const int error = ::clock_getcpuclockid(pid, &clock);
  if (error != 0) return failure("clock_getcpuclockid", error);  // ESRCH: it is gone
  timespec time{};
  if (::clock_gettime(clock, &time) != 0) {
    return failure("clock_gettime", ESRCH);  // EINVAL: it went in between
  }
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

// "run_ns wait_ns slices"
void add_schedstat(std::string_view text, MeterSample& sample) {
  next_number(text);
  sample.wait_ns += static_cast<std::int64_t>(next_number(text));
}

void add_status(std::string_view text, MeterSample& sample) {
  const auto number_behind = [&](std::string_view key) -> std::uint64_t {
    const std::size_t at = text.find(key);
    if (at == text.npos) return 0;
    std::string_view rest = text.substr(at + key.size());
    return next_number(rest);
  };
  sample.voluntary_switches += number_behind("\nvoluntary_ctxt_switches:");
  sample.involuntary_switches += number_behind("\nnonvoluntary_ctxt_switches:");
}

// Files of a thread that has ended since the listing are gone: it is left out.
Result<void> add_threads(pid_t pid, MeterSample& sample) {
  std::array<char, 64> path{};
  fmt::format_to_n(path.data(), path.size() - 1, "/proc/{}/task", pid);
  DIR* const listing = ::opendir(path.data());
  if (listing == nullptr) return last_error("opendir");  // ENOENT: it is gone; EMFILE
  Buffer buffer;
  while (const dirent* const entry = ::readdir(listing)) {
    const int thread = std::atoi(entry->d_name);
    if (thread == 0) continue;  // "." and ".."
    if (auto text = read_proc(buffer, "/proc/{}/task/{}/schedstat", pid, thread)) {
      add_schedstat(*text, sample);
    }
    if (auto text = read_proc(buffer, "/proc/{}/task/{}/status", pid, thread)) {
      add_status(*text, sample);
    }
  }
  ::closedir(listing);
  return {};
}

// proc_pid_stat(5), counted from the bracket that closes the name, which may hold anything.
Result<void> add_stat(pid_t pid, MeterSample& sample) {
  Buffer buffer;
  const Result<std::string_view> text = read_proc(buffer, "/proc/{}/stat", pid);
  if (!text) return tl::unexpected(text.error());
  const std::size_t bracket = text->rfind(')');
  if (bracket == text->npos) return failure("/proc/PID/stat", EINVAL);
  // Skips the letter of the state. tpgid alone can be negative: its sign does not matter here.
  std::string_view rest = text->substr(bracket);
  std::array<std::uint64_t, 12> fields{};  // from ppid (4) to stime (15)
  for (std::uint64_t& field : fields) field = next_number(rest);
  sample.minor_faults = fields[6];
  sample.major_faults = fields[8];
  sample.user_s = ticks_to_s(fields[10]);
  sample.system_s = ticks_to_s(fields[11]);
  return {};
}

// proc_stat(5): user nice system idle iowait irq softirq steal guest guest_nice. The time of a
// guest is in user as well.
constexpr std::size_t softirq_column = 6;
constexpr std::size_t steal_column = 7;
using CpuTicks = std::array<std::uint64_t, 8>;

CpuTicks ticks_of(std::string_view line) {
  line.remove_prefix(std::min(line.find(' '), line.size()));  // "cpu0"
  CpuTicks ticks{};
  for (std::uint64_t& value : ticks) value = next_number(line);
  return ticks;
}

// The lines of the CPUs come first, up to 160 bytes each; what follows does not matter.
Result<void> add_machine(std::optional<int> cpu, MeterSample& sample) {
  std::array<char, 96 * 1024> buffer;
  const Result<std::string_view> text = sys::read_text("/proc/stat", buffer);
  if (!text) return tl::unexpected(text.error());
  const CpuTicks all = ticks_of(text->substr(0, text->find('\n')));
  sample.steal_s = ticks_to_s(all[steal_column]);
  for (const std::uint64_t ticks : all) sample.machine_s += ticks_to_s(ticks);
  if (!cpu) return {};
  std::array<char, 16> name{};
  fmt::format_to_n(name.data(), name.size() - 1, "\ncpu{} ", *cpu);
  const std::size_t at = text->find(name.data());
  if (at == text->npos) return {};  // no such CPU, or one that is off
  const std::string_view line = text->substr(at + 1, text->find('\n', at + 1) - at - 1);
  sample.softirq_s = ticks_to_s(ticks_of(line)[softirq_column]);
  return {};
}

// Among the children of kthreadd, which are listed in the order of their making: the CPUs' own come
// first. None in a container with processes of its own, or without CONFIG_PROC_CHILDREN.
std::optional<pid_t> ksoftirqd_of(int cpu) {
  std::array<char, 32> wanted{};
  fmt::format_to_n(wanted.data(), wanted.size() - 1, "ksoftirqd/{}\n", cpu);
  Buffer children;
  const Result<std::string_view> listing = read_proc(children, "/proc/2/task/2/children");
  std::string_view rest = listing.value_or(std::string_view());
  Buffer buffer;
  while (const auto pid = static_cast<pid_t>(next_number(rest))) {
    const Result<std::string_view> name = read_proc(buffer, "/proc/{}/comm", pid);
    if (name && *name == wanted.data()) return pid;
  }
  return std::nullopt;
}

std::optional<std::int64_t> ksoftirqd_run_ns(int cpu) {
  const std::optional<pid_t> pid = ksoftirqd_of(cpu);
  if (!pid) return std::nullopt;
  const Result<std::int64_t> run_ns = process_run_ns(*pid);
  if (!run_ns) return std::nullopt;
  return *run_ns;
}

}  // namespace

Result<MeterSample> sample_process(pid_t pid, std::optional<int> cpu) {
  MeterSample sample;
  sample.at_ns = sys::monotonic_ns();
  // First what grows by the nanosecond.
  const Result<std::int64_t> run_ns = process_run_ns(pid);
  if (!run_ns) return tl::unexpected(run_ns.error());
  sample.run_ns = *run_ns;
  if (const auto done = add_threads(pid, sample); !done) return tl::unexpected(done.error());
  if (const auto done = add_stat(pid, sample); !done) return tl::unexpected(done.error());
  if (const auto done = add_machine(cpu, sample); !done) return tl::unexpected(done.error());
  if (cpu) sample.ksoftirqd_ns = ksoftirqd_run_ns(*cpu);
  return sample;
}

}  // namespace pagewire::bench
