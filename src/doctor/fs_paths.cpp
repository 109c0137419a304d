// paths: the self-test of serve, every path with a file of ROOT, every byte compared.
#include <fmt/format.h>

#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

/// Those of a state, with the reason where it is not "usable": "splice (...), mmap (...)".
std::string list_of(const egress::PathReports& reports, egress::PathState state) {
  std::string list;
  for (const egress::PathReport& report : reports.paths) {
    if (report.state != state) continue;
    list += (list.empty() ? "" : ", ") + std::string(report.path->name);
    if (!report.why.empty()) list += fmt::format(" ({})", report.why);
  }
  return list;
}

Finding run(Examination& examination) {
  // Without a cache folder: nothing is kept, and nothing old is believed.
  examination.paths = egress::self_test({.root = examination.settings.root,
                                         .mode = egress::SelfTestMode::Always,
                                         .paths = egress::socket_paths()});
  const egress::PathReports& reports = examination.paths;
  Finding finding{.looked_at = "a file of ROOT through each path to a TCP connection, compared"};
  if (!reports.skipped.empty()) {
    finding.status = Status::Unknown;
    finding.reason = reports.skipped;
    return finding;
  }
  finding.found = list_of(reports, egress::PathState::Usable);
  const std::string broken = list_of(reports, egress::PathState::Quarantined);
  const std::string unsupported = list_of(reports, egress::PathState::Unsupported);
  const std::string absent = list_of(reports, egress::PathState::Unavailable);
  if (!broken.empty()) finding.found += "; wrong: " + broken;
  if (!unsupported.empty()) finding.found += "; not on this filesystem: " + unsupported;
  if (!absent.empty()) finding.found += "; not in this kernel: " + absent;
  const egress::Path* const sendfile = egress::find_path("sendfile");
  const bool has_sendfile = sendfile == nullptr || reports.usable().contains(*sendfile);
  if (has_sendfile && broken.empty()) return finding;
  finding.status = has_sendfile ? Status::Warning : Status::Failed;
  finding.costs = has_sendfile ? "paths that are wrong are not used"
                               : "large bodies go by another path than sendfile";
  if (!has_sendfile) finding.estimate = examination.measured.copies(two_copies);
  // Unavailable: the kernel's or a filter's doing, which another filesystem does not change.
  const bool is_filesystem = has_sendfile || absent.find("sendfile") == absent.npos;
  finding.mend = is_filesystem ? "serve from another filesystem (ext4, xfs, btrfs, tmpfs)"
                               : "allow sendfile in the container's seccomp profile";
  return finding;
}

}  // namespace

const Check fs_paths_check{.group = Group::Filesystem, .name = "paths", .run = run};

}  // namespace pagewire::doctor
