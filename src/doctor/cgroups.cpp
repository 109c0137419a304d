#include "doctor/cgroups.h"

#include <unistd.h>

#include <algorithm>

#include "doctor/parse.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

bool exists(const std::string& name) {
  return ::access(name.c_str(), F_OK) == 0;
}

/// Where the hierarchy is mounted, as every distribution and container runtime does it; "":
/// nowhere.
std::string mount_of(const CgroupPath& group, const CgroupQuestion& question) {
  const std::string folder = question.system_root + "/sys/fs/cgroup";
  if (group.unified) {
    // Beside hierarchies of version 1 (systemd's "hybrid") the unified one has a folder of its own.
    if (exists(folder + "/cgroup.controllers")) return folder;
    return exists(folder + "/unified") ? folder + "/unified" : "";
  }
  // "cpu" is a link to "cpu,cpuacct", which not everybody makes.
  for (const std::string& name : {question.controller, group.controllers}) {
    if (exists(folder + "/" + name)) return folder + "/" + name;
  }
  return "";
}

}  // namespace

bool visit_cgroups(const CgroupQuestion& question,
                   const std::function<void(const std::string& folder, bool unified)>& look) {
  const Result<std::string> text = sys::read_text(question.system_root + "/proc/self/cgroup");
  if (!text) return false;
  const std::optional<CgroupPath> group = parse_cgroup(*text, question.controller);
  if (!group) return false;
  const std::string mount = mount_of(*group, question);
  if (mount.empty()) return false;
  // In a container without a cgroup namespace the path is the host's and its folders are not here;
  // the mount's own folder is the container's group then.
  std::string path = group->path;
  for (;;) {
    look(mount + (path == "/" ? "" : path) + "/", group->unified);
    if (path.empty() || path == "/") return true;
    path.erase(path.rfind('/'));
  }
}

std::optional<std::uint64_t> memory_limit(const std::string& system_root) {
  // Above memory.high the page cache is taken back as it is above memory.max. "max": no limit,
  // which version 1 says as the largest multiple of a page in 63 bits.
  std::uint64_t least = no_memory_limit;
  const auto take = [&least](const std::string& file) {
    least = std::min(least, parse_number(sys::first_line_of(file)).value_or(no_memory_limit));
  };
  const auto look = [&take](const std::string& folder, bool unified) {
    if (!unified) return take(folder + "memory.limit_in_bytes");
    take(folder + "memory.max");
    take(folder + "memory.high");
  };
  const bool seen = visit_cgroups({.system_root = system_root, .controller = "memory"}, look);
  return seen ? std::optional(least) : std::nullopt;
}

}  // namespace pagewire::doctor
