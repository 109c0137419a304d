// What uring_zc and uring_zc_sqpoll have in common: file bytes into a registered buffer, and from
// there to the socket by IORING_OP_SEND_ZC. The two differ in who submits.
//
// Invariants: a send is never waited for but for its own result; the notification, which tells that
// the buffer may be written again, is only reaped. What the socket did not take stays in the buffer
// and goes out from there next, without being read again. Where no buffer is free the bytes are
// copied: a buffer comes back when its peer acknowledges, so waiting for one would let a few slow
// readers stop all the others.
#pragma once

#include "egress/slices.h"
#include "egress/uring_lane.h"

namespace pagewire::egress {

/// Sends from the slice at the cursor, for step_by_slices().
Attempt send_by_lane(Transfer& transfer, ByteCount limit, LaneKind kind);

}  // namespace pagewire::egress
