// One step of a transfer: the cursor, the last look at the file, the look at the page cache, and
// falling from path to path.
//
// Invariants: between two steps the cursor stands on a byte that has not gone, or at the end.
// A response whose file was seen to change never completes its promised length.
#include "base/check.h"
#include "egress/egress.h"
#include "egress/residency.h"
#include "sys/socket.h"

namespace pagewire::egress {

namespace {

using content::OpenFile;
using content::Segment;

/// The last look: whether a file whose slice this step may complete is not the file any more that
/// the head was made from. A file overwritten in place, or truncated and written again, has by now
/// gone out mixed; cutting the response short is the only way left to tell the client. Costs one
/// fstat(2) near the end of a transfer that needs more than one step, and nothing for the others:
/// the open-file cache asked the same a moment ago, when their head was made.
bool source_changed(const Transfer& transfer, ByteCount quantum) {
  const OpenFile* looked_at = nullptr;
  ByteCount reach = quantum;  // of file bytes, as in slices.h
  ByteCount gone = transfer.sent_of_segment;
  for (const Segment& segment : transfer.segments.subspan(transfer.index)) {
    const ByteCount rest = segment.size() - gone;
    gone = {};
    if (segment.kind != Segment::Kind::File) continue;
    if (rest > reach) return false;
    reach -= rest;
    if (segment.file == looked_at) continue;
    looked_at = segment.file;
    if (!looked_at->unchanged()) return true;
  }
  return false;
}

/// The first path after the transfer's own that can go on with it, and may: not one that failed the
/// self-test. `copy` is last and may always.
const Path* next_path(const Transfer& transfer) {
  const PathSet& usable = transfer.resources->usable;
  for (const Path* path : paths().subspan(index_of(*transfer.path) + 1)) {
    const bool may = path == paths().back() || usable.contains(*path);
    if (may && path->fits(transfer.segments, transfer.transport)) return path;
  }
  return nullptr;
}

bool holds_sealed(const Transfer& transfer) {
  const Transport& transport = transfer.transport;
  return transport.kind == Transport::Kind::UserTls && transport.outlet->held().value > 0;
}

/// Kernel TLS asks for room before it gives TCP anything, and a call that stopped at a full socket
/// has left its records in TCP's queue as "more to come": nobody sends them, no acknowledgement
/// makes room, and so the socket never becomes writable. Seen with Linux 6.1 (MSG_SENDPAGE_NOTLAST)
/// and send buffers that hold less than TCP sends by itself; later kernels lose 200 ms. Records of
/// user space that went with MSG_MORE stand there as well when they fill the socket, until the same
/// timer (0.2 s for each 3 KB, with a send buffer of 4,608 bytes).
StepResult want_write(const Transfer& transfer, const StepResult& result) {
  if (transfer.transport.kind != Transport::Kind::Plain) {
    sys::push_queued(transfer.transport.socket_fd);
  }
  return result;
}

StepResult want_pages(Transfer& transfer) {
  transfer.stepped = true;  // the head ages while the disk is waited for: look at the file again
  return {.status = Status::WantPages,
          .moved = {},
          .copied = {},
          .error = {},
          .pages = transfer.wanted};
}

}  // namespace

void prepare(Transfer& transfer) {
  if (transfer.path->prepare != nullptr) transfer.path->prepare(transfer);
}

StepResult step(Transfer& transfer, ByteCount quantum) {
  PW_CHECK(quantum.value > 0);
  transfer.advance({});  // over segments that are empty from the start
  if (transfer.finished()) return {.status = Status::Done, .moved = {}, .copied = {}, .error = {}};
  // A send that the kernel has is as good as gone; its result is counted before the next look.
  const bool looks = transfer.stepped && !transfer.lane.handed_over;
  if (looks && source_changed(transfer, quantum)) {
    return {.status = Status::SourceChanged, .moved = {}, .copied = {}, .error = {}};
  }
  // Likewise what it reads for us: that waits in a thread of its own. And what is sealed already
  // needs no page any more.
  const bool reads = transfer.lane.operation < 0 && !holds_sealed(transfer);
  if (transfer.resources->residency.on && reads) {
    quantum = resident_ahead(transfer, quantum);
    if (quantum.value == 0) return want_pages(transfer);
  }
  transfer.stepped = true;
  for (;;) {
    const StepResult result = transfer.path->step(transfer, quantum);
    transfer.just_fetched = false;
    if (result.status == Status::WantPages) return want_pages(transfer);
    if (result.status == Status::WantWrite) return want_write(transfer, result);
    if (result.status != Status::Unsupported) return result;
    transfer.path->cancel(transfer);
    transfer.path = next_path(transfer);
    PW_CHECK(transfer.path != nullptr);  // `copy` supports everything, and so does tls_copy
  }
}

Result<void> equip(const Path& path, Resources& resources) {
  return path.equip == nullptr ? Result<void>() : path.equip(resources);
}

void finish(Transfer& transfer) {
  if (transfer.path != nullptr) transfer.path->cancel(transfer);
}

void Transfer::advance(ByteCount count) {
  sent += count;
  sent_of_segment += count;
  while (index < segments.size() && sent_of_segment >= segments[index].size()) {
    sent_of_segment -= segments[index].size();
    ++index;
  }
}

}  // namespace pagewire::egress
