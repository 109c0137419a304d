// Which CPUs a bench puts its two processes on.
//
// Rests on: sched_getaffinity(2); /sys/devices/system/cpu/cpuN/topology, where threads of one core
// have the same package and core number.
#include "bench/workload.h"

#include <fmt/format.h>
#include <sched.h>

#include "sys/text_file.h"

namespace pagewire::bench {

namespace {

/// The same text for two threads of one core; "" where the kernel does not tell.
std::string core_of(int cpu) {
  const std::string topology = fmt::format("/sys/devices/system/cpu/cpu{}/topology/", cpu);
  const std::string core = sys::first_line_of(topology + "core_id");
  if (core.empty()) return {};
  return sys::first_line_of(topology + "physical_package_id") + "/" + core;
}

}  // namespace

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  // EINVAL on a machine of more CPUs than a cpu_set_t holds (1024): one is a safe answer.
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) cpus.push_back(cpu);
    }
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

Pinning default_pinning() {
  const std::vector<int> cpus = allowed_cpus();
  if (cpus.size() < 2) return {};
  const std::string first_core = core_of(cpus.front());
  for (std::size_t i = 1; i < cpus.size(); ++i) {
    if (first_core.empty() || core_of(cpus[i]) != first_core) return {cpus.front(), cpus[i]};
  }
  return {cpus[0], cpus[1]};
}

}  // namespace pagewire::bench
