// What the paths through a pipe share (splice, vmsplice, tee): the transfer's pipe, filling it from
// the file, and draining it into the socket.
//
// Invariants: a pipe is filled only when it is empty, so EAGAIN always means a full socket;
// in_pipe is exactly what is in it; the cursor counts only what the socket took, so the pipe's
// content can be dropped at any time (a pipe that is not empty is closed, never pooled).
// Rests on splice(2), pipe(7): a pipe holds pages, not bytes, so what does not begin on a page
// boundary fills it with less than its capacity, and a pipe may have a single page
// (fs.pipe-user-pages-soft). The process must ignore SIGPIPE: splice has no MSG_NOSIGNAL.
#pragma once

#include "egress/memory.h"

namespace pagewire::egress {

/// Makes sure that the transfer has a pipe. Moved when it has; else why not.
Attempt take_pipe(Transfer& transfer);

/// splice(2): from the file's slice at the cursor into the transfer's pipe, which must be empty.
/// Moved: it holds in_pipe > 0 bytes.
Attempt fill_from_file(Transfer& transfer, ByteCount limit);

/// splice(2): from the pipe, which must not be empty, into the socket; at most `limit`.
Attempt drain_pipe(Transfer& transfer, ByteCount limit);

/// `cancel` of such a path: nothing of the pipe's content will be asked for again.
void give_pipe_back(Transfer& transfer);

}  // namespace pagewire::egress
