// uring_zc: from a registered buffer to the socket by io_uring's zero-copy send, submitted by the
// worker itself.
//
// Wins where the card sends from the pages themselves and the bytes are no file's own pages, or the
// filesystem cannot splice: one copy (page cache to buffer) instead of copy's two, and no page has
// to be looked up and pinned for each send, as it is for MSG_ZEROCOPY. Loses to sendfile, which
// copies nothing, for plain files; to copy for small bodies, where a notification costs more than
// the copy; and wherever the kernel copies after all, as it always does over loopback and veth (the
// notification says so: IORING_SEND_ZC_REPORT_USAGE; counted). Needs Linux 6.2 and 4 MiB of locked
// memory a worker.
// Rests on io_uring_enter(2), io_uring_prep_send_zc(3), io_uring_register(2). MSG_DONTWAIT makes a
// full socket a completion with EAGAIN, which is there, as any result of such a send is, when
// io_uring_enter(2) returns; so a step almost never has to say Submitted.
// Invariants: see uring_send.h.
#include "egress/registry.h"
#include "egress/uring_send.h"

namespace pagewire::egress {

namespace {

constexpr LaneKind kind = LaneKind::Send;

Attempt send_slice(Transfer& transfer, ByteCount limit) {
  return send_by_lane(transfer, limit, kind);
}

StepResult step_uring_zc(Transfer& transfer, ByteCount quantum) {
  return step_by_slices(transfer, quantum, send_slice);
}

Availability probe() {
  return probe_lane(kind);
}

Result<void> equip(Resources& resources) {
  return open_lane(resources, kind);
}

void cancel(Transfer& transfer) {
  if (UringLane* const lane = lane_of(transfer, kind)) lane->let_go(transfer);
}

}  // namespace

const Path uring_zc_path{.name = "uring_zc",
                         .probe = probe,
                         .fits = fits_plain_socket,
                         .step = step_uring_zc,
                         .cancel = cancel,
                         .lends_memory = true,
                         .equip = equip};

}  // namespace pagewire::egress
