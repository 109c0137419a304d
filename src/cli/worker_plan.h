// How many workers, and the CPU of each: from the options and the machine.
#pragma once

#include <string_view>
#include <vector>

#include "cli/assignment.h"
#include "cli/machine.h"
#include "cli/service_options.h"

namespace pagewire::cli {

struct WorkerPlan {
  std::size_t workers = 0;  ///< 0: as many as CPUs
  PinMode pin_mode = PinMode::Off;
  std::vector<int> pin;  ///< with PinMode::List
};

/// The plan with its numbers filled in; `pin` is then the CPU of each worker, empty for none.
/// Errors start with `command`.
OrUsageError<WorkerPlan> resolve_workers(std::string_view command, WorkerPlan wanted,
                                         const Machine& machine);

}  // namespace pagewire::cli
