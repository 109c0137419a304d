// What the paths that send from a mapping of the file share: where a mapped window may reach, what
// a missing page means, and the last bytes of a slice, which never come from the mapping.
//
// What truncation does to a mapping, and why no byte that is not the file's completes a length:
// - Whole pages beyond the new end: user code would get SIGBUS, so it never touches the mapping.
//   The kernel, reading for send, gets the same fault as EFAULT; a plain send hands over what came
//   before, one with MSG_ZEROCOPY may hand over nothing of that call.
// - The page with the new end in it stays readable, and reads as zeros from the end on. Such zeros
//   may go out. But the mapping never sends the slice's last byte: it stops at the last page
//   boundary *before* the slice's end, and the rest (1 byte to one page) goes by pread(2), which
//   sees that the file is too short. So after zeros there always comes an EFAULT or a short pread,
//   and the response is cut, never completed.
// - A file truncated and then grown again between two steps passes both. Its mtime has changed
//   then, and step() looks at it before the end.
#pragma once

#include "egress/memory.h"
#include "sys/mapping.h"

namespace pagewire::egress {

inline constexpr ByteCount window_size{2 * mib};

/// Where the mapping's part of the slice at the cursor ends: a page boundary, and at least one byte
/// before the slice's end.
FileOffset mapped_end(const Transfer& transfer);

/// The part of `rest` that may come from a mapping; empty when only the slice's last bytes are
/// left, which are for send_read().
ByteRange mapped_part(const Transfer& transfer, ByteRange rest);

/// The window to map for sending from `at` on, which lies before mapped_end(). It may reach beyond
/// this turn, so that the next ones need no mmap.
ByteRange window_from(const Transfer& transfer, FileOffset at);

/// Makes transfer.mapping hold the byte at `at`. Errors: ENODEV, EACCES, EIO (a file of /proc): it
/// cannot be mapped; ENOMEM: address space or vm.max_map_count.
Result<void> map_window(Transfer& transfer, FileOffset at);

/// `cancel` of a path that holds transfer.mapping.
void drop_window(Transfer& transfer);

/// EFAULT: a page of `range` could not be read: the file ends before it, or else the disk failed.
Attempt failed_page(const Transfer& transfer, ByteRange range);

/// What a mmap(2) that failed comes to.
Attempt failed_mapping(const Transfer& transfer, Error error);

/// send(2) of `range` out of `mapping`, with MSG_MORE and `extra_flags`. `copied` is what was
/// taken.
Attempt send_mapped(const Transfer& transfer, const sys::Mapping& mapping, ByteRange range,
                    int extra_flags);

/// The next of `rest` by pread(2) into the worker's scratch buffer, and send.
Attempt send_read(Transfer& transfer, ByteRange rest);

}  // namespace pagewire::egress
