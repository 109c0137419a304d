// The pump of a tunnel whose client speaks TLS: records that are opened and sealed in the program,
// and those that the kernel opens.
//
// Kernel facts (net/tls/tls_sw.c, 6.1 to 6.12): splice(2) moves one record, and may drop of it what
// finds no place in the pipe (docs/KERNEL_NOTES.md); so it is only called where every record would
// find its places. A record that the kernel has opened lies in pages of its own. EINVAL is a record
// of another type, or none at all; EAGAIN has one meaning here.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "relay/pump.h"
#include "relay/tls_front.h"
#include "sys/page_size.h"
#include "sys/socket.h"
#include "sys/splice.h"

namespace pagewire::relay {

namespace {

/// Places of a pipe that so many bytes side by side take at most.
std::size_t pipe_slots(std::size_t bytes) {
  return (bytes + sys::page_size() - 1) / sys::page_size() + 1;
}

}  // namespace

Pump::Moved Pump::push_records(PumpEnds ends, PumpRoom& room) {
  const Result<ByteCount> sent = ends.seals->push(ends.sink);
  if (!sent) return not_sent(sent.error().errno_value, ends);
  took(sent->value, room.counts.copied);
  return Moved::Some;
}

/// Records of the source's, opened; what they held goes on as what pull_by_copy() received.
Pump::Moved Pump::pull_records(PumpEnds ends, PumpRoom& room) {
  const Received received = receive(room.buffer.size(), ends, room);
  if (received.moved != Moved::Some) return received.moved;
  if (received.bytes.empty()) {  // after close_notify nothing is read any more
    failed_as_ = PumpStatus::Truncated;
    return Moved::Failed;
  }
  const TlsFront::Opened opened = ends.opens->open(received.bytes);
  if (opened.failed) {
    failed_as_ = PumpStatus::TlsFailed;
    return Moved::Failed;
  }
  source_ended_ = opened.closed;
  if (opened.plain.empty()) return Moved::Some;
  if (ends.mirror != nullptr) ends.mirror->copy(opened.plain);
  return send(opened.plain, ends, room);
}

/// What was received becomes records, which wait in the front until the sink takes them.
Pump::Moved Pump::pull_to_seal(PumpEnds ends, PumpRoom& room) {
  const std::size_t wanted = std::min(room.buffer.size(), TlsFront::most_sealed);
  const Received received = receive(wanted, ends, room);
  if (received.moved != Moved::Some) return received.moved;
  source_ended_ = received.bytes.empty();
  if (source_ended_) return Moved::Some;
  if (ends.mirror != nullptr) ends.mirror->copy(received.bytes);
  ends.seals->seal(received.bytes);
  return Moved::Some;
}

/// What the kernel has opened. A short read does not mean that it has no more: it ends before a
/// record of another type as well.
Pump::Received Pump::receive_opened(std::size_t wanted, PumpEnds ends, PumpRoom& room) {
  const std::span<char> buffer = room.buffer.first(wanted);
  const TlsFront::Taken taken =
      ends.opens->take(ends.source, buffer, std::exchange(spliced_error_, 0));
  switch (taken.got) {
    case TlsFront::Got::Bytes:
      room.counts.copied.calls.add(1);
      return {Moved::Some, buffer.first(taken.count)};
    case TlsFront::Got::Nothing:
      return {Moved::Nothing, {}};
    case TlsFront::Got::Other:  // it may be answered before anything else is read
      return {Moved::Again, {}};
    case TlsFront::Got::Closed:
      return {Moved::Some, {}};
    case TlsFront::Got::Truncated:
      failed_as_ = PumpStatus::Truncated;
      return {Moved::Failed, {}};
    case TlsFront::Got::Failed:
      failed_as_ = PumpStatus::TlsFailed;
      return {Moved::Failed, {}};
    case TlsFront::Got::SocketFailed:
      failed_as_ = PumpStatus::SourceFailed;
      return {no_bytes(taken.error), {}};
  }
  return {Moved::Failed, {}};
}

Pump::Moved Pump::pull_opened_by_splice(const PumpRules& rules, PumpEnds ends, PumpRoom& room) {
  if (spliced_error_ != 0) return pull_by_copy(rules, ends, room);
  const int error = fill_pipe_with_records(rules, ends, room);
  const bool interrupted = error == EAGAIN || error == EINTR;
  spliced_error_ = interrupted ? 0 : error;
  if (error == ENOMEM) {
    // The kernel has given up on the record for it, and calls it a bad one from now on, to whoever
    // receives or sends: the client's it is not. take() fails with what splice has said.
    static_cast<void>(sys::take_error(ends.source));
  } else if (error != EINVAL && is_of_splice(error)) {
    spliced_error_ = 0;
    splice_failed_ = true;
    switch_to(false, PathReason::SpliceFailed, room);
  }
  if (in_pipe_ == 0) return interrupted ? no_bytes(error) : pull_by_copy(rules, ends, room);
  emptied_ = error == EAGAIN;
  more_ = emptied_ ? sys::More::No : sys::More::Yes;
  if (ends.mirror != nullptr) ends.mirror->tee(pipe_, ByteCount{in_pipe_});
  return Moved::Some;
}

/// As many as surely find a place. Returns what splice(2) said at last: an errno; 0: bytes, or that
/// the source has ended, or a record without bytes.
int Pump::fill_pipe_with_records(const PumpRules& rules, PumpEnds ends, PumpRoom& room) {
  const std::size_t longest = pipe_slots(tls::most_plain_bytes) + 1;
  std::size_t left = pipe_.capacity.value / sys::page_size();
  while (bulk_ && left >= longest) {
    const ssize_t n =
        sys::splice_some(ends.source, pipe_.write_end.get(), pipe_.capacity.value, sys::More::No);
    if (n < 0) return errno;
    if (n == 0) return 0;
    room.counts.spliced.calls.add(1);
    in_pipe_ += static_cast<std::uint32_t>(n);
    left -= std::min(left, pipe_slots(static_cast<std::size_t>(n)));
    look_for_small(rules, ByteCount{static_cast<std::uint64_t>(n)}, room);
  }
  if (!bulk_) full_reads_ = -reads_before_retry;
  return 0;
}

}  // namespace pagewire::relay
