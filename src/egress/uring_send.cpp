// See uring_send.h. Rests on pread(2), io_uring_enter(2) (IORING_OP_SEND_ZC), send(2), poll(2).
#include "egress/uring_send.h"
#include "egress/mapped_window.h"
#include "egress/residency.h"

#include <poll.h>
#include <sys/socket.h>

#include "base/check.h"

namespace pagewire::egress {

namespace {

/// The bytes at the cursor, as far as the transfer's buffer has them.
std::span<const char> buffered_at(const Transfer& transfer, const UringLane& lane, ByteRange rest) {
  const LaneHold& hold = transfer.lane;
  const bool here = hold.buffer >= 0 &&
                    hold.buffered_file == transfer.segments[transfer.index].file &&
                    hold.buffered.offset <= rest.offset && rest.offset < hold.buffered.end();
  if (!here) return {};
  const std::uint64_t skip = rest.offset.value - hold.buffered.offset.value;
  const std::uint64_t size = std::min(hold.buffered.count.value - skip, rest.count.value);
  return lane.buffer_of(transfer).subspan(skip, size);
}

// Less than a page is cheaper copied than accounted for.
constexpr ByteCount least_uncopied{4 * kib};

// A send buffer below this was made small by hand. However little is sent without copying, whole
// pages are charged to the send buffer and, over loopback, to the receiver's; where both are tiny,
// the receiver then offers a window of a few bytes, and each waits for a timer of TCP's (200 ms).
constexpr ByteCount least_send_buffer{64 * kib};

bool has_small_buffer(int socket_fd) {
  int size = 0;
  socklen_t length = sizeof size;
  const bool known = ::getsockopt(socket_fd, SOL_SOCKET, SO_SNDBUF, &size, &length) == 0;
  return !known || static_cast<std::uint64_t>(size) < least_send_buffer.value;
}

/// The same bytes by a send that copies.
Attempt send_copying(const Transfer& transfer, std::span<const char> bytes) {
  Gather gather;
  gather.add(bytes.data(), bytes.size());
  return gather.send(transfer.transport.socket_fd, more_after(transfer, ByteCount{bytes.size()}));
}

/// A free buffer with the next bytes of the slice, also beyond this step's quantum: the last look
/// at the file comes with the step that may complete it, and so after all reads before it.
Attempt fill_buffer(Transfer& transfer, UringLane& lane) {
  const ByteRange next = rest_of_slice(transfer, UringLane::buffer_bytes);
  const content::OpenFile& file = *transfer.segments[transfer.index].file;
  const std::span<char> into = lane.buffer_of(transfer).first(next.count.value);
  Attempt read = read_resident(transfer, file, next, into);
  if (read.status != Status::Moved) return read;
  read.copied = read.count;
  transfer.lane.buffered = {next.offset, read.count};
  transfer.lane.buffered_file = &file;
  return read;
}

bool is_writable(int socket_fd) {
  pollfd socket{.fd = socket_fd, .events = POLLOUT, .revents = 0};
  return ::poll(&socket, 1, 0) > 0;  // also when it is broken: the next send says how
}

/// What an operation that is over has come to. WantWrite of a polled lane is not to be trusted.
Attempt attempt_of(const Transfer& transfer, const UringLane::Outcome& outcome) {
  if (outcome.result > 0) {
    const ByteCount taken{static_cast<std::uint64_t>(outcome.result)};
    return {
        .status = Status::Moved, .count = taken, .asked = outcome.asked, .copied = {}, .error = {}};
  }
  // 0 cannot be, of a send that asked for something, and must not look like progress.
  errno = outcome.result == 0 ? EIO : -outcome.result;
  Attempt attempt = failed_attempt("io_uring(SEND_ZC)");
  switch (attempt.error.errno_value) {
    case EOPNOTSUPP:  // not by this kind of socket
    case EINVAL:
      attempt.status = unsupported_or_failed(transfer);
      break;
    default:  // what the socket says; ECANCELED: its ring is being closed, and so is everything
      break;
  }
  return attempt;
}

/// Out of memory for a send without copying: of the notification, of the pages' accounts (optmem).
bool lacks_memory(const UringLane::Outcome& outcome) {
  return outcome.result == -ENOMEM || outcome.result == -ENOBUFS;
}

Attempt submitted(Transfer& transfer) {
  PW_CHECK(transfer.waker.call != nullptr);
  transfer.lane.waits = true;
  return stopped(Status::Submitted);
}

/// Bytes in the buffer and in no operation: whether this transfer had better copy them.
bool better_copied(Transfer& transfer, std::span<const char> bytes) {
  if (!std::exchange(transfer.lane.judged, true)) {
    transfer.lane.copies = has_small_buffer(transfer.transport.socket_fd);
  }
  return transfer.lane.operation < 0 &&
         (transfer.lane.copies || bytes.size() < least_uncopied.value);
}

/// From the buffer; once more when a polled lane found a socket full that is not any more.
Attempt send_buffered(Transfer& transfer, UringLane& lane, ByteRange rest, LaneKind kind) {
  const std::span<const char> bytes = buffered_at(transfer, lane, rest);
  if (better_copied(transfer, bytes)) return send_copying(transfer, bytes);
  constexpr int attempts = 2;
  for (int i = 0; i < attempts; ++i) {
    if (transfer.lane.operation < 0) {
      const bool more = more_after(transfer, ByteCount{bytes.size()});
      if (!lane.submit_send(transfer, bytes, more)) return send_copying(transfer, bytes);
    }
    lane.reap();
    if (lane.under_way(transfer)) return submitted(transfer);
    const UringLane::Outcome outcome = lane.take_outcome(transfer);
    if (lacks_memory(outcome)) return send_copying(transfer, bytes);
    const Attempt attempt = attempt_of(transfer, outcome);
    // The kernel's thread found the socket full a while ago; the edge that tells of room may have
    // come and gone since then, unheard. Asked now, poll(2) either says that there is room, or
    // makes sure that an edge follows.
    const bool stale = kind == LaneKind::PolledSend && attempt.status == Status::WantWrite &&
                       is_writable(transfer.transport.socket_fd);
    if (!stale) return attempt;
  }
  return send_copying(transfer, bytes);
}

}  // namespace

Attempt send_by_lane(Transfer& transfer, ByteCount limit, LaneKind kind) {
  UringLane* const lane = lane_of(transfer, kind);
  if (lane == nullptr) return stopped(unsupported_or_failed(transfer));  // not equipped
  transfer.lane.waits = false;
  const ByteRange rest = rest_of_slice(transfer, limit);
  ByteCount read_bytes;
  const bool of_earlier_step = transfer.lane.operation >= 0;
  if (!of_earlier_step && buffered_at(transfer, *lane, rest).empty()) {
    if (!lane->take_buffer(transfer)) return send_read(transfer, rest);
    const Attempt read = fill_buffer(transfer, *lane);
    if (read.status != Status::Moved) {
      lane->release_buffer(transfer);  // it may be seconds until the disk has answered
      return read;
    }
    read_bytes = read.copied;
  }
  Attempt attempt = send_buffered(transfer, *lane, rest, kind);
  attempt.copied += read_bytes;
  attempt.last = of_earlier_step;  // this step did not look at the file
  return attempt;
}

}  // namespace pagewire::egress
