// What the page cache holds of a file, and emptying it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

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

enum class Look : std::uint8_t {
  Sampled,    ///< for a file that nobody has known to be cold
  EveryPage,  ///< exact, and about 0.2 us a page
  /// By cachestat alone, in one call as a rule: for who then reads with RWF_NOWAIT. Where it does
  /// not tell, as Sampled.
  Present,
};
/// How much of `range`, from its first byte on, a read would find in memory now, or less; 0 when
/// its first page would have to come from the disk. Never waits for the disk. cachestat(2) says
/// exactly which pages are there, but counts those that are still being read; so one byte of each
/// 64 KiB is also read with RWF_NOWAIT (preadv2(2)), which does not. Once one of the two says that
/// something is missing, every page is asked, for at most 256 KiB: a disk reads in pieces of any
/// size, and they come in any order. Where cachestat does not tell (see above) the bytes read are
/// the only sign, and a gap between two of them stays unseen by a sampled look. Where neither
/// tells, everything counts as resident. Present: also what is being read only now.
ByteCount resident_prefix(int fd, ByteRange range, Look look = Look::Sampled);

/// Has the kernel begin to read `range` (readahead(2)); does not wait for the data, but may wait
/// for the disk's queue or for the file's block map, so it is not for a worker.
void begin_reading(int fd, ByteRange range);

/// Reads `range` through `scratch`, so that it is in the page cache; waits for the disk. Returns
/// what is there, less than asked when the file ends before. Errors: EIO.
Result<ByteCount> fetch_pages(int fd, ByteRange range, std::span<char> scratch);

}  // namespace pagewire::sys
