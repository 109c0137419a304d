// The number of a tracepoint, by which perf_event_open(2) knows it.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace pagewire::sys {

struct Tracepoint {
  std::string system;  ///< "raw_syscalls"
  std::string name;    ///< "sys_enter"
};

/// From tracefs. Where it is not mounted at a usual place, a copy is opened that has no place at
/// all (fsmount(2), Linux 5.2) and is gone when the file is closed. Errors: EACCES (tracefs is
/// mounted, and not for us), EPERM (it is not mounted, and there is no CAP_SYS_ADMIN), ENODEV (a
/// kernel without tracefs), ENOENT (no such tracepoint).
Result<std::uint64_t> id_of(const Tracepoint& tracepoint);

/// The same by the copy without a place alone, wherever else tracefs may be mounted.
Result<std::uint64_t> id_from_detached_tracefs(const Tracepoint& tracepoint);

}  // namespace pagewire::sys
