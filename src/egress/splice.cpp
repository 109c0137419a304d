// splice: from the page cache into a pooled pipe, and from the pipe into the socket, by reference.
//
// Wins nowhere against sendfile for plain files (sendfile does the same inside, with half the
// calls); it is here as the way that can also take bytes from a socket, and to measure that very
// difference. Loses by its second call for every pipe full, and by two descriptors for each
// transfer. Needs pipes: out of descriptors, or of the user's pipe pages, it says Unsupported.
// Rests on splice(2), pipe(7): a pipe holds pages, not bytes, so an unaligned slice fills it with
// less than its capacity, and a pipe may have a single page (fs.pipe-user-pages-soft).
//
// Invariants: the pipe is filled only when it is empty, so EAGAIN always means a full socket;
// in_pipe is exactly what is in it; the cursor counts only what the socket took, so the pipe's
// content can be dropped at any time (cancel closes a pipe that is not empty).
// The process must ignore SIGPIPE: splice has no MSG_NOSIGNAL.
#include <fcntl.h>

#include "egress/registry.h"
#include "egress/slices.h"

namespace pagewire::egress {

namespace {

Attempt fill_pipe(Transfer& transfer, ByteCount limit);
Attempt drain_pipe(Transfer& transfer, ByteCount limit);

Attempt send_slice(Transfer& transfer, ByteCount limit) {
  if (transfer.in_pipe.value == 0) {
    const Attempt filled = fill_pipe(transfer, limit);
    if (filled.status != Status::Moved) return filled;
  }
  return drain_pipe(transfer, limit);
}

/// The flags splice takes for moving a part of a transfer. MOVE is only a hint, and today's kernels
/// ignore it.
unsigned int splice_flags(bool more) {
  return SPLICE_F_MOVE | SPLICE_F_NONBLOCK | (more ? SPLICE_F_MORE : 0U);
}

Attempt fill_pipe(Transfer& transfer, ByteCount limit) {
  if (!transfer.pipe.is_open()) {
    Result<sys::Pipe> pipe = transfer.resources->pipes.take();
    if (!pipe) {  // EMFILE, ENFILE: out of descriptors; ENOMEM
      Attempt attempt;
      attempt.status = unsupported_or_failed(transfer);
      attempt.error = pipe.error();
      return attempt;
    }
    transfer.pipe = std::move(*pipe);
  }
  const content::Segment& segment = transfer.segments[transfer.index];
  const ByteRange rest = rest_of_slice(transfer, std::min(limit, transfer.pipe.capacity));
  for (;;) {
    off_t offset = static_cast<off_t>(rest.offset.value);
    const ssize_t n = ::splice(segment.file->fd(), &offset, transfer.pipe.write_end.get(), nullptr,
                               rest.count.value, splice_flags(false));
    if (n > 0) {
      transfer.in_pipe = ByteCount{static_cast<std::uint64_t>(n)};
      return {.status = Status::Moved,
              .count = transfer.in_pipe,
              .asked = {},
              .copied = {},
              .error = {}};
    }
    if (n == 0) return stopped(Status::SourceTruncated);
    if (errno == EINTR) continue;  // a signal before the first page
    Attempt attempt;
    attempt.error = {"splice(file)", errno};
    switch (attempt.error.errno_value) {
      case EINVAL:      // the filesystem cannot splice this file
      case EOPNOTSUPP:  // the same, from filesystems that say it so
      case ENOSYS:      // not in this kernel, or hidden by a seccomp filter
      case EPERM:       // refused by a seccomp filter
        attempt.status = unsupported_or_failed(transfer);
        break;
      default:  // EIO: the disk; ENOMEM. EAGAIN (pipe full) cannot be: it was empty
        attempt.status = Status::Failed;
        break;
    }
    return attempt;
  }
}

Attempt drain_pipe(Transfer& transfer, ByteCount limit) {
  // Never more than `limit`, even when the pipe holds more: step() has looked at the file only as
  // far as the quantum reaches.
  const ByteCount asked = std::min(transfer.in_pipe, limit);
  const unsigned int flags = splice_flags(more_after(transfer, asked));
  for (;;) {
    const ssize_t n = ::splice(transfer.pipe.read_end.get(), nullptr, transfer.transport.socket_fd,
                               nullptr, asked.value, flags);
    if (n > 0) {
      const ByteCount taken{static_cast<std::uint64_t>(n)};
      transfer.in_pipe -= taken;
      return {.status = Status::Moved, .count = taken, .asked = asked, .copied = {}, .error = {}};
    }
    // 0 would mean an empty pipe without a writer; ours has both. It must not look like progress.
    if (n == 0) errno = EIO;
    if (errno == EINTR) continue;  // a signal before the first page
    Attempt attempt = failed_attempt("splice(socket)");
    // EINVAL: this kind of socket cannot take pages.
    if (attempt.error.errno_value == EINVAL) attempt.status = unsupported_or_failed(transfer);
    return attempt;
  }
}

StepResult step_splice(Transfer& transfer, ByteCount quantum) {
  return step_by_slices(transfer, quantum, send_slice);
}

Availability probe() {
  // Descriptors that are not open: a kernel that has the call says EBADF.
  if (::splice(-1, nullptr, -1, nullptr, 1, 0) < 0 && errno == EBADF) return {};
  return {.available = false, .reason = "splice(2) is refused (seccomp?)"};
}

void cancel(Transfer& transfer) {
  transfer.in_pipe = {};
  transfer.resources->pipes.give_back(std::move(transfer.pipe));
}

}  // namespace

const Path splice_path{.name = "splice",
                       .probe = probe,
                       .fits = fits_plain_socket,
                       .step = step_splice,
                       .cancel = cancel};

}  // namespace pagewire::egress
