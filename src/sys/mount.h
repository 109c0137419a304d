// Which filesystem a file lies on.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace pagewire::sys {

struct Mount {
  std::string type;    ///< "ext4", "tmpfs"
  std::string source;  ///< "/dev/vda", "tmpfs", "host:/export"; as the mount was made
};

/// By the number of the mount (statx(2), STATX_MNT_ID, Linux 5.8), which is right also where
/// device numbers are not (btrfs, overlayfs). Errors: as open(2) for the file; ENODATA (the mount
/// is not in our mount namespace, or the kernel does not number it).
Result<Mount> mount_of(const std::string& path);

/// A line of /proc/PID/mountinfo (proc_pid_mountinfo(5)): one with `mount_id`; ENODATA: none.
Result<Mount> find_mount(std::string_view mountinfo, std::uint64_t mount_id);

}  // namespace pagewire::sys
