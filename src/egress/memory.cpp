// Gathering memory segments into one send. See memory.h.
//
// Relies on: sendmsg(2), send(2): MSG_NOSIGNAL (EPIPE without SIGPIPE), MSG_DONTWAIT, MSG_MORE
// (tcp(7): the last partial segment is held back, up to 200 ms, for what follows).
#include "egress/memory.h"

#include <sys/socket.h>

#include "egress/tls_records.h"
#include "sys/plain_calls.h"

namespace pagewire::egress {

using content::Segment;

Attempt send_memory(const Transfer& transfer, ByteCount limit) {
  Gather gather;
  std::size_t index = transfer.index;
  ByteCount skip = transfer.sent_of_segment;
  for (; index < transfer.segments.size() && gather.bytes() < limit && !gather.full(); ++index) {
    const Segment& segment = transfer.segments[index];
    if (segment.kind != Segment::Kind::Memory) break;
    const std::string_view rest = segment.memory.substr(skip.value);
    skip = {};
    gather.add(rest.data(), std::min(rest.size(), (limit - gather.bytes()).value));
  }
  return gather.send(transfer.transport.socket_fd, more_after(transfer, gather.bytes()));
}

bool more_after(const Transfer& transfer, ByteCount count) {
  ByteCount reach = transfer.sent_of_segment + count;
  for (const Segment& segment : transfer.segments.subspan(transfer.index)) {
    if (segment.size() > reach) return true;
    reach -= segment.size();
  }
  return false;
}

std::span<const iovec> memory_pieces(Transfer& transfer, ByteCount limit, std::span<iovec> room) {
  transfer.advance({});  // over segments that are empty from the start
  if (transfer.transport.kind == Transport::Kind::UserTls) {
    return sealed_pieces(transfer, limit, room);
  }
  ByteCount skip = transfer.sent_of_segment;
  ByteCount total;
  std::size_t count = 0;
  for (const Segment& segment : transfer.segments.subspan(transfer.index)) {
    if (segment.kind != Segment::Kind::Memory) return {};
    const std::string_view rest = segment.memory.substr(skip.value);
    skip = {};
    total += ByteCount{rest.size()};
    if (count == room.size() || total > limit) return {};
    if (!rest.empty()) room[count++] = {const_cast<char*>(rest.data()), rest.size()};
  }
  return room.first(count);
}

StepResult after_send(Transfer& transfer, ByteCount taken) {
  transfer.stepped = true;
  const bool sealed = transfer.transport.kind == Transport::Kind::UserTls;
  const ByteCount moved = sealed ? transfer.transport.outlet->taken(taken.value) : taken;
  transfer.advance(moved);
  return {.status = transfer.finished() ? Status::Done : Status::Moved,
          .moved = moved,
          .copied = taken,
          .calls = 1,
          .error = {}};
}

Attempt Gather::send(int socket_fd, bool more) {
  msghdr message{};
  message.msg_iov = pieces_.data();
  message.msg_iovlen = count_;
  const int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0);
  for (;;) {
    const ssize_t n =
        count_ == 1 ? sys::plain_send(socket_fd, pieces_[0].iov_base, pieces_[0].iov_len, flags)
                    : ::sendmsg(socket_fd, &message, flags);
    if (n >= 0) {
      const ByteCount taken{static_cast<std::uint64_t>(n)};
      return {
          .status = Status::Moved, .count = taken, .asked = bytes_, .copied = taken, .error = {}};
    }
    if (errno != EINTR) return failed_attempt("sendmsg");  // EINTR: a signal before the first byte
  }
}

Attempt failed_attempt(const char* operation) {
  const int errno_value = errno;
  Attempt attempt;
  attempt.error = {operation, errno_value};
  switch (errno_value) {
    case EAGAIN:  // no room in the send buffer; EPOLLOUT will tell
      attempt.status = Status::WantWrite;
      break;
    case EPIPE:         // the connection was reset earlier, or this end was shut down
    case ECONNRESET:    // RST arrived
    case ETIMEDOUT:     // retransmissions, keep-alive or TCP_USER_TIMEOUT ran out
    case ENOTCONN:      // the socket never was, or is no longer, connected
    case ECONNABORTED:  // the kernel ended it (tcp_abort_on_overflow, ss -K)
    case EHOSTUNREACH:  // ICMP errors that TCP keeps as the reason for giving up
    case ENETUNREACH:
    case ENETDOWN:
      attempt.status = Status::PeerGone;
      break;
    default:  // EIO, ENOMEM, ENOBUFS, EOVERFLOW: nothing that waiting or another path would mend
      attempt.status = Status::Failed;
      break;
  }
  return attempt;
}

}  // namespace pagewire::egress
