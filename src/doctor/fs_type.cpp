// filesystem: which one ROOT lies on.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "doctor/registry.h"
#include "sys/mount.h"

namespace pagewire::doctor {

namespace {

constexpr auto network_types = std::to_array<std::string_view>(
    {"nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "glusterfs", "lustre", "beegfs", "afs"});

Finding judge(const sys::Mount& mount) {
  Finding finding{.looked_at = "the mount of ROOT",
                  .found = fmt::format("{} on {}", mount.type, mount.source)};
  if (mount.type == "overlay") {
    finding.status = Status::Warning;
    finding.costs =
        "which pages are cold cannot be told (they belong to the layer below): a worker "
        "waits for the disk itself";
    finding.mend = "serve from a volume or bind mount of the host's filesystem";
  } else if (mount.type.starts_with("fuse") || mount.type == "virtiofs") {
    finding.status = Status::Warning;
    finding.costs = "each cold page asks another process; some such filesystems cannot be spliced";
    finding.mend = "copy what is asked for often to a local filesystem";
  } else if (std::ranges::find(network_types, mount.type) != network_types.end()) {
    finding.status = Status::Warning;
    finding.costs = "looking after a file's state (fstat) can wait for the network, on the worker";
    finding.mend = "copy what is asked for often to a local filesystem";
  }
  return finding;
}

Finding run(Examination& examination) {
  const Result<sys::Mount> mount = sys::mount_of(examination.settings.root);
  if (mount) return judge(*mount);
  return {.looked_at = "the mount of ROOT",
          .found = {},
          .status = Status::Unknown,
          .reason = "/proc/self/mountinfo: " + describe(mount.error())};
}

}  // namespace

const Check fs_type_check{.group = Group::Filesystem, .name = "filesystem", .run = run};

}  // namespace pagewire::doctor
