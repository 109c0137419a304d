// tee: a small file stands in a master pipe of the worker's; tee(2) copies its references to the
// transfer's pipe, and splice(2) moves them from there into the socket.
//
// Wins, if anywhere, for hot files of some 4 to 64 KiB: it does not look the pages up in the page
// cache, and so comes out about even with sendfile, which makes one call where this makes two
// (head and 4 KiB over loopback: 1.3 us of CPU against 1.9; 32 KiB: 3 us both). One filled pipe
// feeds any number of sockets, which is what load generation and a mirror of a stream need. Loses
// to `copy` below that (0.6 us for 4 KiB), and where more files are hot than there are masters:
// each miss makes and fills a pipe. Needs two pipes of the size of the file, and their descriptors.
// Fits only files that a pipe holds whole, each slice from the first byte on: tee(2) always begins
// at the front of the pipe.
//
// Not for error bodies: those are about 100 bytes that go out in the same send as their head. That
// send costs 0.3 us with and without them; by a tee they would cost two system calls more, 0.8 us
// in all, and hold a page for each.
//
// Invariants: as in pipe_steps.h; the client's pipe is filled by tee only for the first byte of a
// slice. A tee that was cut short (the client's pipe has less room than the file has pages) goes
// on by splice from the file, as path splice does it. An old version of a file never goes out
// under a new head: see master_pipes.h.
//
// Rests on tee(2), splice(2). tee copies no data: both pipes then hold the same pages.
#include <fcntl.h>

#include "base/check.h"
#include "egress/master_pipes.h"
#include "egress/pipe_steps.h"
#include "egress/registry.h"
#include "egress/slices.h"
#include "sys/page_cache.h"

namespace pagewire::egress {

namespace {

Attempt fill_by_tee(Transfer& transfer, ByteCount limit);

Attempt send_slice(Transfer& transfer, ByteCount limit) {
  if (transfer.in_pipe.value == 0) {
    const Attempt filled = transfer.sent_of_segment.value == 0 ? fill_by_tee(transfer, limit)
                                                               : fill_from_file(transfer, limit);
    if (filled.status != Status::Moved) return filled;
  }
  return drain_pipe(transfer, limit);
}

/// A master takes in the whole file, also what lies behind the slice that step() has looked at.
bool is_resident(const Transfer& transfer, const content::OpenFile& file) {
  if (!transfer.resources->residency.on) return true;
  const ByteRange whole{FileOffset{0}, file.status().size};
  return sys::resident_prefix(file.fd(), whole, sys::Look::EveryPage) >= whole.count;
}

/// The whole slice if the pipe has room, whatever the step's limit: what is in the pipe can wait,
/// and the master cannot be entered in the middle.
Attempt fill_by_tee(Transfer& transfer, ByteCount limit) {
  if (transfer.resources->masters == nullptr) return stopped(Status::Unsupported);
  if (const Attempt taken = take_pipe(transfer); taken.status != Status::Moved) return taken;
  const content::Segment& segment = transfer.segments[transfer.index];
  PW_CHECK(segment.slice.offset.value == 0);  // whoever starts a path asks fits() before
  MasterPipes& masters = *transfer.resources->masters;
  if (!masters.has(*segment.file) && !is_resident(transfer, *segment.file)) {
    return fill_from_file(transfer, limit);
  }
  const MasterPipes::Found master = masters.find(*segment.file);
  if (master.attempt.status != Status::Moved) return master.attempt;
  for (;;) {
    const ssize_t n = ::tee(master.pipe->read_end.get(), transfer.pipe.write_end.get(),
                            segment.slice.count.value, SPLICE_F_NONBLOCK);
    if (n > 0) {
      transfer.in_pipe = ByteCount{static_cast<std::uint64_t>(n)};
      return stopped(Status::Moved);
    }
    // 0 would be an empty master without a writer; ours is whole. It must not look like progress.
    if (n == 0) errno = EIO;
    if (errno == EINTR) continue;  // a signal before the first page
    Attempt attempt;
    attempt.error = {"tee", errno};
    switch (attempt.error.errno_value) {
      case EFAULT:  // a page has as many references as the kernel counts to (fs/pipe.c)
      case ENOSYS:  // not in this kernel, or hidden by a seccomp filter
      case EPERM:   // refused by a seccomp filter
      case ENOMEM:  // of the kernel
        attempt.status = Status::Unsupported;
        break;
      default:  // EAGAIN cannot be: the master has bytes and the client's pipe has room
        attempt.status = Status::Failed;
        break;
    }
    return attempt;
  }
}

bool fits(std::span<const content::Segment> segments, const Transport& transport) {
  for (const content::Segment& segment : segments) {
    if (segment.kind != content::Segment::Kind::File) continue;
    const ByteCount size = segment.file->status().size;
    if (segment.slice.offset.value != 0 || segment.slice.count > size) return false;
    if (size > largest_master) return false;
  }
  return fits_socket(segments, transport);
}

StepResult step_tee(Transfer& transfer, ByteCount quantum) {
  return step_by_slices(transfer, quantum, send_slice);
}

Availability probe() {
  // Descriptors that are not open: a kernel that has the call says EBADF.
  if (::tee(-1, -1, 1, 0) < 0 && errno == EBADF) return {};
  return {.available = false, .reason = "tee(2) is refused (seccomp?)"};
}

}  // namespace

const Path tee_path{.name = "tee",
                    .probe = probe,
                    .fits = fits,
                    .step = step_tee,
                    .cancel = give_pipe_back,
                    .fits_only = "whole files of at most 64 KiB, from their first byte on"};

}  // namespace pagewire::egress
