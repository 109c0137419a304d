// splice: from the page cache into a pooled pipe, and from the pipe into the socket, by reference.
//
// Wins nowhere against sendfile for plain files (sendfile does the same inside, with half the
// calls); it is here as the way that can also take bytes from a socket, and to measure that very
// difference. Loses by its second call for every pipe full, and by two descriptors for each
// transfer. Needs pipes: out of descriptors, or of the user's pipe pages, it says Unsupported.
// Rests on splice(2), pipe(7). The pipe's invariants are in pipe_steps.h.
#include <fcntl.h>

#include "egress/pipe_steps.h"
#include "egress/registry.h"
#include "egress/slices.h"

namespace pagewire::egress {

namespace {

Attempt send_slice(Transfer& transfer, ByteCount limit) {
  if (transfer.in_pipe.value == 0) {
    const Attempt filled = fill_from_file(transfer, limit);
    if (filled.status != Status::Moved) return filled;
  }
  return drain_pipe(transfer, limit);
}

StepResult step_splice(Transfer& transfer, ByteCount quantum) {
  return step_by_slices(transfer, quantum, send_slice);
}

Availability probe() {
  // Descriptors that are not open: a kernel that has the call says EBADF.
  if (::splice(-1, nullptr, -1, nullptr, 1, 0) < 0 && errno == EBADF) return {};
  return {.available = false, .reason = "splice(2) is refused (seccomp?)"};
}

}  // namespace

const Path splice_path{.name = "splice",
                       .probe = probe,
                       .fits = fits_socket,
                       .step = step_splice,
                       .cancel = give_pipe_back};

}  // namespace pagewire::egress
