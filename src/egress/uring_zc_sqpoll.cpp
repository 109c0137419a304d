// uring_zc_sqpoll: as uring_zc, but a thread of the kernel's takes the submissions and sends
// (IORING_SETUP_SQPOLL), so that the worker makes no system call for a send.
//
// Wins where a CPU is to spare next to the worker's and the worker is the bottleneck. Loses
// everywhere else: the sending costs the same CPU in another thread, which spins for a while when
// nothing comes; the worker is woken for every result; a transfer costs two calls for its place in
// the ring's table of files. Needs what uring_zc needs, and an SQPOLL that lets closed sockets go
// (Linux 6.14: sys/uring.cpp).
// Rests on io_uring_setup(2) (IORING_SETUP_SQPOLL, sq_thread_idle), io_uring_enter(2),
// io_uring_prep_send_zc(3), io_uring_register(2) (IORING_REGISTER_FILES_UPDATE).
// Invariants: see uring_send.h; one send at a time, because the next one's bytes depend on how many
// this one got rid of: Submitted until its result has come.
#include "egress/registry.h"
#include "egress/uring_send.h"

namespace pagewire::egress {

namespace {

constexpr LaneKind kind = LaneKind::PolledSend;

Attempt send_slice(Transfer& transfer, ByteCount limit) {
  return send_by_lane(transfer, limit, kind);
}

StepResult step_uring_zc_sqpoll(Transfer& transfer, ByteCount quantum) {
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

const Path uring_zc_sqpoll_path{.name = "uring_zc_sqpoll",
                                .probe = probe,
                                .fits = fits_plain_socket,
                                .step = step_uring_zc_sqpoll,
                                .cancel = cancel,
                                .lends_memory = true,
                                .equip = equip};

}  // namespace pagewire::egress
