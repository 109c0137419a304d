// copy: preadv2(2) into the worker's scratch buffer, then one sendmsg(2) with the head and all.
//
// Wins for small bodies: head and body leave in one call and one TCP segment, and copying some KiB
// costs less than a second call. Fits every socket but one whose records are made in user
// space, needs nothing, and is what all else falls to.
// Loses by two copies of every byte (page cache to scratch, scratch to socket buffer).
// Rests on preadv2(2), sendmsg(2).
//
// Invariant: stateless. Each step reads what it sends; what the socket did not take is read again
// by the next step. A read that ends early is a truncated file, seen before any byte of that call
// is sent.
#include "egress/registry.h"
#include "egress/residency.h"
#include "egress/slices.h"

namespace pagewire::egress {

namespace {

/// Reads the next of `rest` into what is left of `scratch`, and takes that much off it.
Attempt gather_slice(Transfer& transfer, const content::OpenFile& file, ByteRange rest,
                     std::span<char>& scratch, Gather& gather) {
  const std::size_t size = std::min<std::size_t>(rest.count.value, scratch.size());
  Attempt read = read_resident(transfer, file, rest, scratch.first(size));
  if (read.status != Status::Moved) return read;
  gather.add(scratch.data(), read.count.value);
  scratch = scratch.subspan(read.count.value);
  read.asked = rest.count;
  return read;
}

/// Little memory is copied next to the rest: that costs less than a second piece for the kernel.
void gather_memory(std::string_view bytes, std::span<char>& scratch, Gather& gather) {
  constexpr std::size_t little = 2 * kib;
  if (bytes.size() > little || bytes.size() > scratch.size()) {
    return gather.add(bytes.data(), bytes.size());
  }
  bytes.copy(scratch.data(), bytes.size());
  gather.add(scratch.data(), bytes.size());
  scratch = scratch.subspan(bytes.size());
}

Attempt gather_and_send(Transfer& transfer, ByteCount quantum) {
  Gather gather;
  std::span<char> scratch = transfer.resources->scratch;
  ByteCount skip = transfer.sent_of_segment;
  const content::OpenFile* file = nullptr;
  ByteCount read_bytes;
  for (const content::Segment& segment : transfer.segments.subspan(transfer.index)) {
    const ByteCount left = quantum - gather.bytes();
    if (left.value == 0 || gather.full()) break;
    const ByteCount size = std::min(segment.size() - skip, left);
    if (segment.kind == content::Segment::Kind::Memory) {
      gather_memory(segment.memory.substr(skip.value, size.value), scratch, gather);
    } else {
      if (scratch.empty()) break;
      const ByteRange rest{segment.slice.offset + skip, size};
      const Attempt read = gather_slice(transfer, *segment.file, rest, scratch, gather);
      if (read.status == Status::WantPages && read_bytes.value > 0) break;  // what is here first
      if (read.status != Status::Moved) return read;
      file = segment.file;
      read_bytes += read.count;
      if (read.count < read.asked) break;  // scratch is full, or the rest is not in memory
    }
    skip = {};
  }
  // Asked after reading, so that whatever was read is of the version that the head was made from.
  if (file != nullptr && !file->unchanged()) return stopped(Status::SourceChanged);
  Attempt attempt = gather.send(transfer.transport.socket_fd, more_after(transfer, gather.bytes()));
  attempt.copied += read_bytes;
  return attempt;
}

StepResult step_copy(Transfer& transfer, ByteCount quantum) {
  const Attempt attempt = gather_and_send(transfer, quantum);
  if (attempt.status != Status::Moved) {
    return {
        .status = attempt.status, .moved = {}, .copied = attempt.copied, .error = attempt.error};
  }
  transfer.advance(attempt.count);
  return {.status = transfer.finished() ? Status::Done : Status::Moved,
          .moved = attempt.count,
          .copied = attempt.copied,
          .calls = 1,
          .error = {}};
}

Availability probe() {
  return {};
}

void cancel(Transfer&) {}  // nothing is held between steps

}  // namespace

const Path copy_path{.name = "copy",
                     .probe = probe,
                     .fits = fits_socket,
                     .step = step_copy,
                     .cancel = cancel,
                     .reads_nowait = true};

}  // namespace pagewire::egress
