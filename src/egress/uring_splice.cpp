// uring_splice: from the page cache into a pipe by io_uring, and from the pipe into the socket by
// splice(2) when it takes bytes.
//
// Wins where pages are evicted after the look at the page cache: the read of the disk then happens
// in a thread of the kernel's (IORING_OP_SPLICE always runs in one) and not in the worker. Loses on
// hot files: every pipe full costs the way to that thread and back, and a wake-up. Needs
// Linux 5.19, pipes, and a filesystem whose files can be spliced. Rests on io_uring_prep_splice(3),
// io_uring_enter(2), splice(2), pipe(7).
//
// Invariants: those of pipe_steps.h: the pipe is filled only when it is empty, in_pipe is exactly
// what is in it. While it is being filled the pipe is the operation's, with the file
// (uring_lane.h): a transfer that dies meanwhile leaves both to it. Where too many operations are
// under way, the step fills the pipe itself and may wait for the disk. The process must ignore
// SIGPIPE: splice has no MSG_NOSIGNAL.
#include <fcntl.h>

#include "base/check.h"
#include "egress/pipe_steps.h"
#include "egress/registry.h"
#include "egress/slices.h"
#include "egress/uring_lane.h"

namespace pagewire::egress {

namespace {

constexpr LaneKind kind = LaneKind::Splice;

Attempt fill_pipe(Transfer& transfer, UringLane& lane, ByteCount limit);
Attempt take_filled(Transfer& transfer, UringLane& lane);

Attempt send_slice(Transfer& transfer, ByteCount limit) {
  UringLane* const lane = lane_of(transfer, kind);
  if (lane == nullptr) return stopped(unsupported_or_failed(transfer));  // not equipped
  transfer.lane.waits = false;
  // A step that takes an operation's result was made without a look at the page cache (step.cpp):
  // it ends here, and what the next one reads is looked at first.
  const bool takes = transfer.lane.operation >= 0;
  if (takes) {
    const Attempt taken = take_filled(transfer, *lane);
    if (taken.status != Status::Moved) return taken;
  } else if (transfer.in_pipe.value == 0) {
    const Attempt filled = fill_pipe(transfer, *lane, limit);
    if (filled.status != Status::Moved) return filled;
  }
  Attempt attempt = drain_pipe(transfer, limit);
  attempt.last = takes;
  return attempt;
}

/// What a splice from the file has come to: `n` bytes, or -errno.
Attempt filled_by(Transfer& transfer, std::int64_t n) {
  if (n > 0) {
    transfer.in_pipe = ByteCount{static_cast<std::uint64_t>(n)};
    return {
        .status = Status::Moved, .count = transfer.in_pipe, .asked = {}, .copied = {}, .error = {}};
  }
  if (n == 0) return stopped(Status::SourceTruncated);
  Attempt attempt;
  attempt.error = {"splice(file)", static_cast<int>(-n)};
  switch (attempt.error.errno_value) {
    case EINVAL:      // the filesystem cannot splice this file
    case EOPNOTSUPP:  // the same, from filesystems that say it so
    case ENOSYS:      // not in this kernel, or hidden by a seccomp filter
    case EPERM:       // refused by a seccomp filter
      attempt.status = unsupported_or_failed(transfer);
      break;
    default:  // EIO: the disk; ENOMEM; ECANCELED: the worker ends. EAGAIN cannot be: it was empty
      attempt.status = Status::Failed;
      break;
  }
  return attempt;
}

std::int64_t splice_here(const Transfer& transfer, ByteRange range) {
  for (;;) {
    off_t offset = static_cast<off_t>(range.offset.value);
    const ssize_t n = ::splice(transfer.segments[transfer.index].file->fd(), &offset,
                               transfer.pipe.write_end.get(), nullptr, range.count.value,
                               SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n >= 0) return n;
    if (errno != EINTR) return -errno;  // EINTR: a signal before the first page
  }
}

Attempt fill_pipe(Transfer& transfer, UringLane& lane, ByteCount limit) {
  if (const Attempt taken = take_pipe(transfer); taken.status != Status::Moved) return taken;
  const ByteRange range = rest_of_slice(transfer, std::min(limit, transfer.pipe.capacity));
  if (!lane.submit_splice(transfer, range))
    return filled_by(transfer, splice_here(transfer, range));
  return take_filled(transfer, lane);
}

Attempt take_filled(Transfer& transfer, UringLane& lane) {
  lane.reap();
  if (lane.under_way(transfer)) {
    PW_CHECK(transfer.waker.call != nullptr);
    transfer.lane.waits = true;
    return stopped(Status::Submitted);
  }
  const UringLane::Outcome outcome = lane.take_outcome(transfer);
  // EINTR: the kernel's thread got a signal before the first page, because the process stops or
  // ends. Done here, it is either over or repeated.
  if (outcome.result != -EINTR) return filled_by(transfer, outcome.result);
  const ByteRange range = rest_of_slice(transfer, outcome.asked);
  return filled_by(transfer, splice_here(transfer, range));
}

StepResult step_uring_splice(Transfer& transfer, ByteCount quantum) {
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
  give_pipe_back(transfer);
}

}  // namespace

const Path uring_splice_path{.name = "uring_splice",
                             .probe = probe,
                             .fits = fits_socket,
                             .step = step_uring_splice,
                             .cancel = cancel,
                             .equip = equip};

}  // namespace pagewire::egress
