// zerocopy: a window of the file is mapped, and send(2) with MSG_ZEROCOPY queues its pages by
// reference; completions on the socket's error queue say when the kernel has let go of them.
//
// Wins, against the paths that copy, with large sends to a network card that gathers (NETIF_F_SG)
// and computes checksums: the CPU does not touch the bytes. Against sendfile it wins nowhere for
// whole files, which sendfile queues by reference as well, without page tables, pinning or
// completions; its place is memory that has no file behind it to send from, and to measure that.
// Loses by the page faults of the mapping, by pinning (one reference a page), by a wake-up, a
// getsockopt and a recvmsg for the completions of about every acknowledgement, and most where the
// kernel has to copy after all: on loopback, on veth, behind packet sockets, on devices without
// scatter-gather. The kernel says so (SO_EE_CODE_ZEROCOPY_COPIED), and after ZeroCopyLimits::
// copied_streak such sends in a row the connection goes on by plain sends from the mapping, and its
// next response by another path. Sends under 16 KiB are copied at once; a socket with a send buffer
// under 64 KiB goes by another path.
// Needs SO_ZEROCOPY (Linux 4.14), option memory (net.core.optmem_max) for the completions, and
// locked memory (RLIMIT_MEMLOCK) without CAP_IPC_LOCK: where one of those runs out the send says
// ENOBUFS, and that send is made by copying. Needs a filesystem whose files can be mapped.
// Rests on Documentation/networking/msg_zerocopy.rst, send(2), mmap(2), recvmsg(2) (MSG_ERRQUEUE).
//
// Memory segments are copied: a head lies in an Exchange, a small body in a cache entry, and both
// may be used again as soon as the response is over, which is before the peer acknowledges it.
// Windows of files live as long as their sends (zero_copy_sends.h).
//
// A file overwritten in place or truncated after a send was made goes out as it then is, as with
// sendfile: the queue holds pages of the page cache. Truncation before the send: mapped_window.h.
#include <sys/socket.h>

#include "egress/mapped_window.h"
#include "egress/registry.h"
#include "egress/slices.h"
#include "egress/zero_copy_sends.h"
#include "sys/socket.h"

namespace pagewire::egress {

namespace {

Attempt send_window(Transfer& transfer, ZeroCopySends& sends, ByteRange part);
Attempt send_pages(Transfer& transfer, ZeroCopySends& sends, const sys::Mapping& window,
                   ByteRange part);

// The kernel charges whole pages to the send buffer, and, where it copies, to the receive buffer at
// the other end: a part of a page each fills small buffers with a few hundred bytes, and TCP then
// goes on by its timers, 5 segments a second (seen on loopback with SO_RCVBUF at its least).
constexpr ByteCount least_send_buffer{64 * kib};

/// nullptr: not prepared, or the socket is not for this.
ZeroCopySends* sends_of(const Transfer& transfer) {
  SocketState* const state = transfer.transport.state;
  return state != nullptr ? state->zero_copy.get() : nullptr;
}

Attempt send_slice(Transfer& transfer, ByteCount limit) {
  ZeroCopySends* const sends = sends_of(transfer);
  if (sends == nullptr) return stopped(unsupported_or_failed(transfer));
  const ByteRange rest = rest_of_slice(transfer, limit);
  const FileOffset end = mapped_end(transfer);
  if (rest.offset >= end) return send_read(transfer, rest);
  const ByteCount mapped{std::min(rest.end(), end).value - rest.offset.value};
  return send_window(transfer, *sends, {rest.offset, mapped});
}

Attempt send_window(Transfer& transfer, ZeroCopySends& sends, ByteRange part) {
  const Result<const sys::Mapping*> window = sends.window_at(transfer, part.offset);
  // Out of windows, or, in mid-slice, of vm.max_map_count, which they count against: a read needs
  // none. At a slice's start another path may do better than we would then.
  if (!window && transfer.sent_of_segment.value == 0) {
    return failed_mapping(transfer, window.error());
  }
  if (!window || *window == nullptr) return send_read(transfer, part);
  const FileOffset end = std::min(part.end(), (*window)->range().end());
  return send_pages(transfer, sends, **window,
                    {part.offset, ByteCount{end.value - part.offset.value}});
}

Attempt send_pages(Transfer& transfer, ZeroCopySends& sends, const sys::Mapping& window,
                   ByteRange part) {
  const ByteCount allowed = sends.allowed(part.count);
  if (allowed.value > 0) {
    Attempt attempt = send_mapped(transfer, window, {part.offset, allowed}, MSG_ZEROCOPY);
    if (attempt.status == Status::Moved) {
      sends.sent(attempt.count);
      attempt.copied = {};  // a completion may say otherwise
      return attempt;
    }
    // ENOBUFS: no option memory for the completion (net.core.optmem_max), or the user may not lock
    // more pages (RLIMIT_MEMLOCK). Nothing of this call was taken.
    if (attempt.error.errno_value != ENOBUFS) return attempt;
    ++transfer.resources->zero_copy.no_buffer;
  }
  return send_mapped(transfer, window, part, 0);
}

/// Whether a connection that can wait for completions stands behind the socket, and has not found
/// out that the kernel copies anyway.
bool fits(std::span<const content::Segment> segments, const Transport& transport) {
  if (transport.state == nullptr || !fits_plain_socket(segments, transport)) return false;
  return transport.state->zero_copy == nullptr || !transport.state->zero_copy->given_up();
}

void make_sends(Transfer& transfer) {
  SocketState* const state = transfer.transport.state;
  if (state == nullptr || state->zero_copy != nullptr) return;
  // What fails here, the first step tells as Unsupported: a kernel that allows it before connecting
  // only, a socket that has gone.
  const int fd = transfer.transport.socket_fd;
  if (sys::send_buffer(fd).value_or(ByteCount{}) < least_send_buffer) return;
  if (!sys::allow_zero_copy(fd)) return;
  state->zero_copy = std::make_unique<ZeroCopySends>(transfer.resources->zero_copy);
}

StepResult step_zerocopy(Transfer& transfer, ByteCount quantum) {
  return step_by_slices(transfer, quantum, send_slice);
}

Availability probe() {
  const sys::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // EMFILE, or a family that this machine does not have: the real sockets will tell.
  if (!fd.is_open() || sys::allow_zero_copy(fd.get())) return {};
  return {.available = false, .reason = "this kernel has no SO_ZEROCOPY (Linux 4.14)"};
}

void cancel(Transfer& transfer) {
  if (ZeroCopySends* const sends = sends_of(transfer)) sends->leave_window();
}

}  // namespace

const Path zerocopy_path{.name = "zerocopy",
                         .probe = probe,
                         .fits = fits,
                         .step = step_zerocopy,
                         .cancel = cancel,
                         .maps_file = true,
                         .lends_memory = true,
                         .prepare = make_sends};

}  // namespace pagewire::egress
