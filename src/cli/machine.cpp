#include "cli/machine.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <utility>

#include "cli/text_file.h"
#include "cli/values.h"

namespace pagewire::cli {

namespace {

std::vector<int> allowed_cpus() {
  std::vector<int> allowed;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  // EINVAL on a machine of more CPUs than a cpu_set_t holds (1024): one worker is a safe answer.
  if (::sched_getaffinity(0, sizeof(cpus), &cpus) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(static_cast<std::size_t>(cpu), &cpus)) allowed.push_back(cpu);
    }
  }
  if (allowed.empty()) allowed.push_back(0);
  return allowed;
}

/// The CPUs that are threads of the same core, as sysfs tells ("0,64" or "0-1"); itself else.
std::vector<int> threads_of_core(int cpu) {
  Result<std::string> text =
      read_whole(fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
  if (text && text->ends_with('\n')) text->pop_back();
  return text ? parse_cpu_list(*text).value_or(std::vector{cpu}) : std::vector{cpu};
}

std::optional<int> second_core_of(const std::vector<int>& cpus) {
  if (cpus.size() < 2) return std::nullopt;
  const std::vector<int> taken = threads_of_core(cpus.front());
  for (const int cpu : cpus) {
    if (std::find(taken.begin(), taken.end(), cpu) == taken.end() && cpu != cpus.front()) {
      return cpu;
    }
  }
  return cpus[1];  // a single core of two threads: still better than one thread for both
}

}  // namespace

Machine this_machine() {
  std::vector<int> cpus = allowed_cpus();
  const std::optional<int> second_core = second_core_of(cpus);
  return {.cpus = std::move(cpus), .second_core = second_core};
}

}  // namespace pagewire::cli
