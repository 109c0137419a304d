// mmap: a window of the file is mapped, and send(2) copies from it.
//
// Wins nowhere against sendfile; against `copy` it saves a system call and the scratch buffer's
// share of the CPU cache, and loses by page faults (one for each 64 KiB), by TLB shootdowns at
// munmap, and by the lock of the address space that all workers share. It is here to be measured,
// and because many servers do it. Needs a filesystem whose files can be mapped (ENODEV else) and
// address space. Rests on mmap(2), send(2). What truncation does is in mapped_window.h.
#include <sys/socket.h>

#include "egress/mapped_window.h"
#include "egress/registry.h"
#include "egress/slices.h"

namespace pagewire::egress {

namespace {

Attempt send_window(Transfer& transfer, ByteRange rest);

Attempt send_slice(Transfer& transfer, ByteCount limit) {
  const ByteRange rest = rest_of_slice(transfer, limit);
  const ByteRange mapped = mapped_part(transfer, rest);
  return mapped.count.value == 0 ? send_tail(transfer, rest) : send_window(transfer, mapped);
}

Attempt send_window(Transfer& transfer, ByteRange rest) {
  const Result<void> mapped = map_window(transfer, rest);
  if (!mapped) {
    Attempt attempt;
    attempt.status = unsupported_or_failed(transfer);
    attempt.error = mapped.error();
    return attempt;
  }
  const FileOffset end = std::min(rest.end(), transfer.mapping.range().end());
  const ByteCount asked{end.value - rest.offset.value};
  // The slice's last byte is never in the window, so more always follows.
  constexpr int flags = MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE;
  for (;;) {
    const ssize_t n =
        ::send(transfer.transport.socket_fd, transfer.mapping.at(rest.offset), asked.value, flags);
    if (n > 0) {
      const ByteCount taken{static_cast<std::uint64_t>(n)};
      return {
          .status = Status::Moved, .count = taken, .asked = asked, .copied = taken, .error = {}};
    }
    if (n < 0 && errno == EINTR) continue;  // a signal before the first byte
    if (n < 0 && errno == EFAULT) return failed_page(transfer, {rest.offset, asked});
    return failed_attempt("send(mapping)");
  }
}

StepResult step_mmap(Transfer& transfer, ByteCount quantum) {
  return step_by_slices(transfer, quantum, send_slice);
}

Availability probe() {
  return {};
}  // mmap is in every kernel that can run this program

}  // namespace

const Path mmap_path{.name = "mmap",
                     .probe = probe,
                     .fits = fits_plain_socket,
                     .step = step_mmap,
                     .cancel = drop_window};

}  // namespace pagewire::egress
