#include "egress/pipe_steps.h"

#include <fcntl.h>

#include "egress/slices.h"

namespace pagewire::egress {

namespace {

/// The flags splice takes for moving a part of a transfer. MOVE is only a hint, and today's kernels
/// ignore it.
unsigned int splice_flags(bool more) {
  return SPLICE_F_MOVE | SPLICE_F_NONBLOCK | (more ? SPLICE_F_MORE : 0U);
}

}  // namespace

Attempt take_pipe(Transfer& transfer) {
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
  return stopped(Status::Moved);
}

Attempt fill_from_file(Transfer& transfer, ByteCount limit) {
  if (const Attempt taken = take_pipe(transfer); taken.status != Status::Moved) return taken;
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

void give_pipe_back(Transfer& transfer) {
  transfer.in_pipe = {};
  transfer.resources->pipes.give_back(std::move(transfer.pipe));
}

}  // namespace pagewire::egress
