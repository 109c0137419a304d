#include "doctor/cgroups.h"

#include <unistd.h>

#include "doctor/parse.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

bool visit_cgroups(const std::string& controller,
                   const std::function<void(const std::string& folder, bool unified)>& look) {
  const Result<std::string> text = sys::read_text("/proc/self/cgroup");
  if (!text) return false;
  const std::optional<CgroupPath> group = parse_cgroup(*text, controller);
  if (!group) return false;
  const std::string mount = group->unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + controller;
  if (::access(mount.c_str(), F_OK) != 0) return false;
  std::string path = group->path;
  for (;;) {
    look(mount + (path == "/" ? "" : path) + "/", group->unified);
    if (path.empty() || path == "/") return true;
    path.erase(path.rfind('/'));
  }
}

}  // namespace pagewire::doctor
