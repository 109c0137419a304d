// Rests on proc(5): stat, status, net/snmp; on getrusage(2); on fstat of /proc/self/fd, whose size
// is the number of descriptors since Linux 6.2 and 0 before.
#include "sys/process.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include "sys/clock.h"
#include "sys/text_file.h"

namespace pagewire::sys {

namespace {

std::uint64_t microseconds(const timeval& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 +
         static_cast<std::uint64_t>(time.tv_usec);
}

CpuTime cpu_time(int whose) {
  rusage usage{};
  // EINVAL alone is possible, for another `whose` than those below.
  ::getrusage(whose, &usage);
  return {.user_us = microseconds(usage.ru_utime), .system_us = microseconds(usage.ru_stime)};
}

/// The next word of `text`, which it is taken off.
std::string_view take_word(std::string_view& text) {
  const std::size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
  const std::size_t end = std::min(text.find_first_of(" \t\n", begin), text.size());
  const std::string_view word = text.substr(begin, end - begin);
  text.remove_prefix(end);
  return word;
}

std::optional<std::uint64_t> to_number(std::string_view word) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return value;
}

/// The number behind "\nNAME", as in /proc/self/status and /proc/net/tls_stat.
std::optional<std::uint64_t> number_of(std::string_view text, std::string_view name) {
  const std::string wanted = "\n" + std::string(name);
  const std::size_t at = text.find(wanted);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = text.substr(at + wanted.size());
  return to_number(take_word(rest));
}

std::optional<ByteCount> kib_of(std::string_view status, std::string_view name) {
  const std::optional<std::uint64_t> value = number_of(status, name);
  if (!value) return std::nullopt;
  return ByteCount{*value * kib};
}

/// Field 22 of /proc/self/stat is in clock ticks since the machine started, which the clocks of now
/// put on the calendar. The name in field 2 may hold blanks; it ends at the last ')'.
std::optional<double> start_of_process() {
  const Result<std::string> stat = read_text("/proc/self/stat");
  if (!stat) return std::nullopt;
  std::string_view rest = *stat;
  rest.remove_prefix(std::min(rest.rfind(')') + 1, rest.size()));
  constexpr int fields_before = 19;  // 3 to 21
  for (int i = 0; i < fields_before; ++i) take_word(rest);
  const std::optional<std::uint64_t> ticks = to_number(take_word(rest));
  timespec since_boot{};
  if (!ticks || ::clock_gettime(CLOCK_BOOTTIME, &since_boot) != 0) return std::nullopt;
  const double boot_s =
      static_cast<double>(since_boot.tv_sec) + static_cast<double>(since_boot.tv_nsec) / 1e9;
  const double age_s =
      boot_s - static_cast<double>(*ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return static_cast<double>(realtime_ns()) / 1e9 - age_s;
}

std::optional<std::uint64_t> count_descriptors() {
  struct stat status {};
  if (::stat("/proc/self/fd", &status) == 0 && status.st_size > 0) {
    return static_cast<std::uint64_t>(status.st_size);
  }
  DIR* const folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return std::nullopt;  // EMFILE, ENFILE: all are taken; ENOENT: no /proc
  std::uint64_t count = 0;
  while (const dirent* const entry = ::readdir(folder)) {
    if (entry->d_name[0] != '.') ++count;
  }
  ::closedir(folder);
  return count - 1;  // the folder's own
}

}  // namespace

CpuTime thread_cpu_time() {
  return cpu_time(RUSAGE_THREAD);
}

ProcessFacts process_facts() {
  ProcessFacts facts;
  facts.cpu = cpu_time(RUSAGE_SELF);
  // Once: worked out anew it would differ by what the clocks were corrected meanwhile.
  static const std::optional<double> started_at_s = start_of_process();
  facts.started_at_s = started_at_s;
  if (const Result<std::string> status = read_text("/proc/self/status")) {
    facts.resident = kib_of(*status, "VmRSS:");
    facts.pinned = kib_of(*status, "VmPin:");
  }
  facts.open_descriptors = count_descriptors();
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    facts.most_descriptors = limit.rlim_cur;
  }
  return facts;
}

/// Two lines that begin with "Tcp:": the names, and in the same order the numbers.
std::optional<HostTcp> host_tcp() {
  const Result<std::string> text = read_text("/proc/net/snmp");
  if (!text) return std::nullopt;
  const std::size_t first = text->find("\nTcp: ");
  if (first == std::string::npos) return std::nullopt;
  const std::size_t second = text->find("\nTcp: ", first + 1);
  if (second == std::string::npos) return std::nullopt;
  std::string_view names = std::string_view(*text).substr(first + 1, second - first - 1);
  std::string_view values = std::string_view(*text).substr(second + 1);
  std::optional<std::uint64_t> sent;
  std::optional<std::uint64_t> again;
  for (std::string_view name = take_word(names); !name.empty(); name = take_word(names)) {
    const std::string_view value = take_word(values);
    if (name == "OutSegs") sent = to_number(value);
    if (name == "RetransSegs") again = to_number(value);
  }
  if (!sent || !again) return std::nullopt;
  return HostTcp{.sent_segments = *sent, .retransmitted_segments = *again};
}

std::optional<HostTls> host_tls() {
  const Result<std::string> text = read_text("/proc/net/tls_stat");
  if (!text) return std::nullopt;
  const std::string framed = "\n" + *text;
  const std::optional<std::uint64_t> by_kernel = number_of(framed, "TlsCurrTxSw");
  const std::optional<std::uint64_t> by_card = number_of(framed, "TlsCurrTxDevice");
  if (!by_kernel || !by_card) return std::nullopt;
  return HostTls{.by_kernel = *by_kernel, .by_card = *by_card};
}

}  // namespace pagewire::sys
