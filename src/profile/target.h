// Which processes a user means; private to the room.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "profile/profile.h"

namespace pagewire::profile {

/// A number is that process, or the one that a thread of that number belongs to; a name is every
/// process that is called so (comm, proc_pid_comm(5)) or runs a program of that file name, but for
/// this one. The error is one line.
tl::expected<std::vector<Process>, std::string> find_processes(const std::string& target);

/// Whether a process goes by `wanted`. comm has 15 characters at most. Pure.
struct Names {
  std::string_view comm;
  std::string_view program;  ///< the file name of its executable; "": not to be seen
};
bool goes_by(const Names& names, std::string_view wanted);

/// Seconds of CPU that the process has used.
struct CpuUse {
  double user_s = 0;
  double system_s = 0;
};
CpuUse cpu_use_of(pid_t process);
/// /proc/PID/stat (proc_pid_stat(5)), whose second field may hold anything. Pure.
CpuUse parse_cpu_use(std::string_view stat, double ticks_per_s);

/// Whether it still runs: a process that has ended and whose parent has not noticed does not.
bool is_alive(pid_t process);

/// The PID that the process itself sees: another one in a container. proc_pid_status(5).
pid_t number_in_its_namespace(pid_t process);

/// Of /proc/PID/status: the last number behind `name` ("NSpid:"); 0 where it has no such line.
/// Pure.
pid_t last_number_of(std::string_view status, std::string_view name);

/// "PID of NAME, PID of NAME": children of the process, where it has some.
std::string children_text(pid_t process);

}  // namespace pagewire::profile
