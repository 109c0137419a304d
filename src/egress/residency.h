// What of a transfer is in memory: asked before each step, so that no step waits for the disk.
//
// Two lines of defence. egress::step() looks ahead (resident_ahead) and steps no further than what
// it saw; what a path itself reads with pread goes by read_resident(), which stops exactly where
// the disk would have to be waited for. What remains is a page that is evicted after the look and
// before sendfile(2), splice(2) or a fault on a mapping needs it: no flag of the kernel prevents
// the wait then.
//
// Price: a look at 2 MiB costs a few microseconds, at a small file less than one. The transfer that
// made it trusts it for a tenth of a second, the others on this worker, through the file's note,
// for a millisecond. So a hot small file is looked at a thousand times a second at most.
#pragma once

#include <span>

#include "egress/memory.h"

namespace pagewire::egress {

/// How many file bytes from the cursor on, at most `quantum`, may be sent without waiting;
/// `quantum` when that reaches the end of the response or only memory follows. 0: not one;
/// transfer.wanted says what to fetch.
ByteCount resident_ahead(Transfer& transfer, ByteCount quantum);

/// Reads the first bytes of `rest`, which goes on behind `into`, as sys::read_at does, but without
/// waiting for the disk. Moved: `count` bytes, > 0, fewer than asked when what follows is not in
/// memory. WantPages: nothing is; transfer.wanted says what. SourceTruncated: the file ends before
/// `into` is full. Failed: EIO.
Attempt read_resident(Transfer& transfer, const content::OpenFile& file, ByteRange rest,
                      std::span<char> into);

}  // namespace pagewire::egress
