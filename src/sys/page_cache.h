// What the page cache holds of a file, and emptying it.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "base/units.h"

namespace pagewire::sys {

/// Writes the file back, so that its pages are clean, and drops them (POSIX_FADV_DONTNEED). Pages
/// that somebody has mapped or is sending stay. Errors: ESPIPE (a FIFO), EIO.
Result<void> drop_cached_pages(int fd);

/// The bytes of the file that the page cache holds, in whole pages but at most its size; nullopt
/// where the kernel does not tell. cachestat(2) (Linux 6.5) where there is one, else mincore(2).
/// Both tell only whoever may write the file.
Result<std::optional<ByteCount>> resident_bytes(int fd);

/// The second of the two ways. Errors: as mmap(2), mincore(2).
Result<std::optional<ByteCount>> resident_bytes_by_mincore(int fd);

/// Whether the byte at `offset`, which must lie in the file, can be read without waiting for the
/// disk (preadv2(2), RWF_NOWAIT, Linux 4.14). Anybody who may read the file may ask. Beyond the end
/// it is false, because Linux 5.9 and 5.10 also say "the end" for what is not in memory. Errors:
/// EOPNOTSUPP (the filesystem does not tell), EIO.
Result<bool> is_resident(int fd, FileOffset offset);

}  // namespace pagewire::sys
