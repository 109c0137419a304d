// The step of every path that sends a file slice by a call of its own: segment after segment,
// memory by send_memory(), slices by the path, until the quantum is used up or the socket takes
// less than it was offered.
//
// The quantum is of file bytes: a head in front of them that counted too would leave every later
// call at an offset a few bytes off the page boundary, and a rest of a few bytes at the end.
//
// Invariant: what one step says fits egress.h exactly: once something has moved it is Moved or
// Done; whatever stopped it then (a full socket, a truncated file, a reset) stops the next step at
// once, with nothing moved, and is told there. So no outcome hides a count, and Unsupported is only
// said by a step that moved nothing.
#pragma once

#include "egress/memory.h"

namespace pagewire::egress {

/// Calls a step may make, whatever their size: many small ranges are also a turn that must end.
inline constexpr std::uint32_t max_calls_per_step = 64;

/// `fits` of a path that hands pages or memory to the socket as they are: what is not encrypted by
/// the program. Kernel TLS takes sendfile(2), splice(2) and send(2).
inline bool fits_socket(std::span<const content::Segment>, const Transport& transport) {
  switch (transport.kind) {
    case Transport::Kind::Plain:
    case Transport::Kind::KernelTls:
      return true;
    case Transport::Kind::UserTls:
      return false;
  }
  return false;
}

/// `fits` of a path that lends the kernel memory (MSG_ZEROCOPY, SEND_ZC): kernel TLS refuses both
/// with EOPNOTSUPP, because it encrypts into pages of its own.
inline bool fits_plain_socket(std::span<const content::Segment>, const Transport& transport) {
  return transport.kind == Transport::Kind::Plain;
}

/// The slice at the cursor, from where it stands.
inline ByteRange rest_of_slice(const Transfer& transfer, ByteCount limit) {
  const ByteRange slice = transfer.segments[transfer.index].slice;
  return {slice.offset + transfer.sent_of_segment,
          std::min(slice.count - transfer.sent_of_segment, limit)};
}

/// The status of an errno that says "not on this filesystem" (the path's file names them): another
/// path may do, unless this one has already sent a part of the slice.
inline Status unsupported_or_failed(const Transfer& transfer) {
  return transfer.sent_of_segment.value == 0 ? Status::Unsupported : Status::Failed;
}

/// `send_slice(transfer, limit) -> Attempt` makes one call that sends from the slice at the cursor.
/// While it has an operation under way (Submitted) the cursor stays on that slice.
template <class SendSlice>
StepResult step_by_slices(Transfer& transfer, ByteCount quantum, SendSlice send_slice) {
  StepResult result;
  ByteCount left = quantum;
  while (!transfer.finished() && left.value > 0 && result.calls < max_calls_per_step) {
    const bool memory = transfer.segments[transfer.index].kind == content::Segment::Kind::Memory;
    const Attempt attempt = memory ? send_memory(transfer, quantum) : send_slice(transfer, left);
    result.copied += attempt.copied;
    if (attempt.status != Status::Moved) {
      if (result.moved.value > 0) break;
      result.status = attempt.status;
      result.error = attempt.error;
      return result;
    }
    ++result.calls;
    result.moved += attempt.count;
    // An operation that is taken up here may have been submitted by a step with a larger quantum.
    if (!memory) left -= std::min(left, attempt.count);
    transfer.advance(attempt.count);
    if (attempt.last || attempt.count < attempt.asked) break;
  }
  result.status = transfer.finished() ? Status::Done : Status::Moved;
  return result;
}

}  // namespace pagewire::egress
