// Files of the control groups that this process is in, of both versions; private to the room.
#pragma once

#include <functional>
#include <string>

namespace pagewire::doctor {

struct CgroupQuestion {
  std::string system_root;  ///< what stands before /proc and /sys
  std::string controller;   ///< "cpu", "memory"
};
/// Calls `look` with the folder of the process's group for the controller and then with those above
/// it; `unified` tells cgroup 2. False: it is in none, or none can be seen.
bool visit_cgroups(const CgroupQuestion& question,
                   const std::function<void(const std::string& folder, bool unified)>& look);

}  // namespace pagewire::doctor
