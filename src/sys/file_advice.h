// Advice to the kernel about one open file (posix_fadvise(2)). It holds for the open file
// description: for every descriptor dup'ed or inherited from it, and for nobody else's.
#pragma once

#include "base/result.h"
#include "base/units.h"

namespace pagewire::sys {

/// POSIX_FADV_SEQUENTIAL: the kernel's window of readahead becomes twice the device's
/// (/sys/class/bdi/*/read_ahead_kb) for this open file. Reads nothing, never blocks. No effect, and
/// no error, where there is no disk (tmpfs).
Result<void> advise_sequential(int fd);

/// POSIX_FADV_WILLNEED: begins to read `range` into the page cache and does not wait for it; but
/// may wait for metadata, and for room in the disk's queue.
Result<void> read_ahead(int fd, ByteRange range);

}  // namespace pagewire::sys
