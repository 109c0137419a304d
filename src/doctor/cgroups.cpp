#include "doctor/cgroups.h"

#include <unistd.h>

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

}  // namespace pagewire::doctor
