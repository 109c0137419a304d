// What the paths from a mapped file share (mmap, vmsplice): the window of the file that is mapped,
// and how a slice is divided so that truncation never completes a length with foreign bytes.
//
// What truncation does to a mapping, and why no byte that is not the file's completes a length:
// - Whole pages beyond the new end: user code would get SIGBUS, so it never touches the mapping.
//   The kernel, reading it for a call of ours, gets the same fault as EFAULT, after handing over
//   what came before.
// - The page with the new end in it stays readable, and reads as zeros from the end on. Such zeros
//   may go out. But the mapping never sends the slice's last byte: it stops at the last page
//   boundary *before* the slice's end, and the rest (1 byte to one page) goes by pread(2), which
//   sees that the file is too short. So after zeros there always comes an EFAULT or a short pread,
//   and the response is cut, never completed.
// - A file truncated and then grown again between two steps passes both. Its mtime has changed
//   then, and step() looks at it before the end.
//
// Rests on mmap(2), sys/mapping.h.
#pragma once

#include "egress/memory.h"

namespace pagewire::egress {

/// The part of `rest` that may come from a mapping; empty when only the slice's last bytes are
/// left, which are for send_tail().
ByteRange mapped_part(const Transfer& transfer, ByteRange rest);

/// Makes transfer.mapping hold the byte at `rest.offset`. The window may reach beyond this turn, so
/// that the next ones need no mmap. Errors: ENODEV, EACCES, EIO (a file of /proc): it cannot be
/// mapped; ENOMEM: address space or vm.max_map_count.
Result<void> map_window(Transfer& transfer, ByteRange rest);

/// EFAULT: a page of `range` could not be read: the file ends before it, or else the disk failed.
Attempt failed_page(const Transfer& transfer, ByteRange range);

/// The slice's last bytes: by pread(2) into the worker's scratch buffer, and one send.
Attempt send_tail(Transfer& transfer, ByteRange rest);

/// `cancel` of such a path.
void drop_window(Transfer& transfer);

}  // namespace pagewire::egress
