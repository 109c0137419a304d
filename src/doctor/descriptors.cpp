// descriptors: each connection has one, each file that is open, two a pipe (getrlimit(2)).
#include <fmt/format.h>
#include <sys/resource.h>

#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

constexpr rlim_t enough = 16'384;  // serve raises the soft limit to the hard one by itself

Finding run(Examination&) {
  Finding finding{.looked_at = "RLIMIT_NOFILE, fs.file-max", .found = {}};
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    finding.status = Status::Unknown;
    finding.reason = errno_text(errno);
    return finding;
  }
  finding.found =
      fmt::format("{}, which serve may raise to {}; {} for the whole system", limit.rlim_cur,
                  limit.rlim_max, sys::first_line_of("/proc/sys/fs/file-max"));
  if (limit.rlim_max >= enough) return finding;
  finding.status = Status::Warning;
  finding.costs =
      fmt::format("about {} connections at once, then clients are refused", limit.rlim_max / 2);
  finding.mend = "ulimit -Hn 65536, or LimitNOFILE=65536 in the service's unit";
  return finding;
}

}  // namespace

const Check descriptors_check{.group = Group::Kernel, .name = "descriptors", .run = run};

}  // namespace pagewire::doctor
