// sendfile: from the page cache to the socket, no copy, no mapping, no pipe of our own.
//
// Wins for all but small bodies: one call for each turn, and the pages are only referenced.
// Loses to `copy` below the break-even, where a second call costs more than copying some KiB, and
// on user-space TLS, which must see the bytes. Blocks the thread on pages that are not in the
// cache. Needs a filesystem whose files can be spliced (all on disk can; some FUSE and /proc files
// cannot). Rests on sendfile(2): it stops short when the socket is full or the file ends; 0 before
// the slice ends means that the file was truncated. It has no flags: a full socket is EAGAIN
// because the socket is non-blocking, and it raises SIGPIPE, which the process must ignore. Inside,
// the kernel moves 16 pages at a time through a pipe of the thread's own.
#include <sys/sendfile.h>

#include "egress/registry.h"
#include "egress/slices.h"

namespace pagewire::egress {

namespace {

Attempt send_slice(Transfer& transfer, ByteCount limit) {
  const content::Segment& segment = transfer.segments[transfer.index];
  const ByteRange rest = rest_of_slice(transfer, limit);
  for (;;) {
    off_t offset = static_cast<off_t>(rest.offset.value);
    const ssize_t n =
        ::sendfile(transfer.transport.socket_fd, segment.file->fd(), &offset, rest.count.value);
    if (n > 0) {
      const ByteCount taken{static_cast<std::uint64_t>(n)};
      return {
          .status = Status::Moved, .count = taken, .asked = rest.count, .copied = {}, .error = {}};
    }
    if (n == 0) return stopped(Status::SourceTruncated);
    if (errno == EINTR) continue;  // a signal before the first byte
    Attempt attempt = failed_attempt("sendfile");
    switch (attempt.error.errno_value) {
      case EINVAL:      // the filesystem cannot splice this file
      case EOPNOTSUPP:  // the same, from filesystems that say it so
      case ENOSYS:      // not in this kernel, or hidden by a seccomp filter
      case EPERM:       // refused by a seccomp filter
        attempt.status = unsupported_or_failed(transfer);
        break;
      default:  // what the socket says; EIO: the disk; ENOMEM; EOVERFLOW: past the largest offset
        break;
    }
    return attempt;
  }
}

StepResult step_sendfile(Transfer& transfer, ByteCount quantum) {
  return step_by_slices(transfer, quantum, send_slice);
}

Availability probe() {
  // Descriptors that are not open: a kernel that has the call says EBADF.
  if (::sendfile(-1, -1, nullptr, 1) < 0 && errno == EBADF) return {};
  return {.available = false, .reason = "sendfile(2) is refused (seccomp?)"};
}

void cancel(Transfer&) {}  // nothing is held between steps

}  // namespace

const Path sendfile_path{.name = "sendfile",
                         .probe = probe,
                         .fits = fits_socket,
                         .step = step_sendfile,
                         .cancel = cancel};

}  // namespace pagewire::egress
