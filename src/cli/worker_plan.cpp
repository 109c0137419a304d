#include "cli/worker_plan.h"

#include <fmt/format.h>

#include <algorithm>

namespace pagewire::cli {

OrUsageError<WorkerPlan> resolve_workers(std::string_view command, WorkerPlan wanted,
                                         const Machine& machine) {
  const std::vector<int>& list = wanted.pin;
  for (const int cpu : list) {
    if (std::find(machine.cpus.begin(), machine.cpus.end(), cpu) != machine.cpus.end()) continue;
    return tl::unexpected(UsageError{
        fmt::format("{}: pin names CPU {}, on which this process may not run", command, cpu)});
  }
  if (wanted.workers == 0) wanted.workers = list.empty() ? machine.cpus.size() : list.size();
  if (!list.empty() && list.size() != wanted.workers) {
    return tl::unexpected(UsageError{fmt::format("{}: pin takes one CPU a worker, not {} for {}",
                                                 command, list.size(), wanted.workers)});
  }
  if (wanted.pin_mode == PinMode::Auto) {
    for (std::size_t worker = 0; worker < wanted.workers; ++worker) {
      wanted.pin.push_back(machine.cpus[worker % machine.cpus.size()]);
    }
  }
  return wanted;
}

}  // namespace pagewire::cli
