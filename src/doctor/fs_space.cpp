// space: what is free on ROOT's filesystem, for logs and caches.
#include <fmt/format.h>
#include <sys/statvfs.h>

#include "doctor/registry.h"
#include "text/text.h"

namespace pagewire::doctor {

namespace {

constexpr double scarce = 0.02;

Finding run(Examination& examination) {
  Finding finding{.looked_at = "statvfs(3) of ROOT"};
  struct statvfs status {};
  if (::statvfs(examination.settings.root.c_str(), &status) != 0 || status.f_blocks == 0) {
    finding.status = Status::Unknown;
    finding.reason = "the filesystem tells no size";
    return finding;
  }
  const double block = static_cast<double>(status.f_frsize);
  const double free = static_cast<double>(status.f_bavail) * block;
  const double all = static_cast<double>(status.f_blocks) * block;
  finding.found = fmt::format("{} of {} free", format_size(free), format_size(all));
  if (free / all >= scarce || (status.f_flag & ST_RDONLY) != 0) return finding;
  finding.status = Status::Warning;
  finding.costs = "logs and caches stop growing when nothing is left";
  finding.mend = "df -h " + examination.settings.root + ", and make room";
  return finding;
}

}  // namespace

const Check fs_space_check{.group = Group::Filesystem, .name = "space", .run = run};

}  // namespace pagewire::doctor
