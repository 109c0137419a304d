// Files of the control groups that this process is in, of both versions; private to the room.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
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

inline constexpr std::uint64_t no_memory_limit = 1ULL << 62;
/// Bytes that the groups allow, page cache included; nullopt: it is in none, or none can be seen.
std::optional<std::uint64_t> memory_limit(const std::string& system_root);

}  // namespace pagewire::doctor
