#include "relay/mirror_lane.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

namespace pagewire::relay {

namespace {

/// Of the queue's slots, kept for the beginnings and ends of connections.
constexpr std::size_t kept_share = 8;
constexpr std::size_t longest_text = 1024;  // below PIPE_BUF: whole or not at all

std::int64_t coarse_realtime_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

/// Only ever written by one thread, so no locked instruction is needed.
void add(std::atomic<std::uint64_t>& counter, std::uint64_t count) {
  counter.store(counter.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
}

std::uint64_t taken(ssize_t result) {
  // EAGAIN: the lane's pipe is full. ENOMEM, EFAULT (a page with as many references as the kernel
  // counts to): rare, and a gap says it as well.
  return result > 0 ? static_cast<std::uint64_t>(result) : 0;
}

void commit(MirrorLane::Shared& shared, const MirrorHead& head, MirrorHead& slot) {
  slot = head;
  shared.heads.commit();
  shared.put_bytes += head.length;
  const std::uint64_t waiting =
      shared.put_bytes - shared.taken_bytes.load(std::memory_order_relaxed);
  const bool much = waiting >= shared.pipe.capacity.value / 4 || shared.heads.half_full();
  shared.wiring.alarm.committed(much);
}

/// `put` of `count` bytes of the stream are in the lane's pipe; `slot` is theirs, null when the
/// queue was full.
void account(MirrorLane::Shared& shared, MirrorTap& tap, MirrorHead head, std::uint64_t count,
             std::uint64_t put, MirrorHead* slot) {
  MirrorTap::Stream& stream = tap.streams[static_cast<std::size_t>(head.direction)];
  if (put > 0) {
    head.connection = tap.connection;
    head.offset = stream.offset;
    head.realtime_ns = coarse_realtime_ns();
    head.length = static_cast<std::uint32_t>(put);
    head.flags = stream.gap ? mirror_flag::gap : 0;
    if (stream.gap) add(shared.gaps, 1);
    stream.gap = false;
    commit(shared, head, *slot);
  }
  stream.offset += count;
  if (put == count) return;
  stream.gap = true;
  add(shared.dropped_bytes, count - put);
}

}  // namespace

void MirrorLane::open(MirrorTap& tap, std::string_view text) {
  tap = {};
  tap.connection = shared_.wiring.connections.fetch_add(1, std::memory_order_relaxed) + 1;
  text = text.substr(0, longest_text);
  MirrorHead* const slot = shared_.heads.begin();
  if (slot == nullptr ||
      taken(::write(shared_.pipe.write_end.get(), text.data(), text.size())) != text.size()) {
    add(shared_.dropped_records, 1);
    return;
  }
  commit(shared_,
         {.connection = tap.connection,
          .realtime_ns = coarse_realtime_ns(),
          .length = static_cast<std::uint32_t>(text.size()),
          .flags = mirror_flag::open},
         *slot);
}

void MirrorLane::tee(MirrorTap& tap, Direction direction, const sys::Pipe& pipe, ByteCount count) {
  if (!shared_.wiring.mirrored[static_cast<std::size_t>(direction)]) return;
  MirrorHead* const slot = shared_.heads.begin(shared_.heads.capacity() / kept_share);
  std::uint64_t put = 0;
  if (slot != nullptr) {
    ssize_t result = 0;
    do {
      result =
          ::tee(pipe.read_end.get(), shared_.pipe.write_end.get(), count.value, SPLICE_F_NONBLOCK);
    } while (result < 0 && errno == EINTR);  // a signal before the first page
    put = taken(result);
  }
  account(shared_, tap, {.direction = direction}, count.value, put, slot);
}

void MirrorLane::copy(MirrorTap& tap, Direction direction, std::span<const char> bytes) {
  if (!shared_.wiring.mirrored[static_cast<std::size_t>(direction)] || bytes.empty()) return;
  MirrorHead* const slot = shared_.heads.begin(shared_.heads.capacity() / kept_share);
  std::uint64_t put = 0;
  if (slot != nullptr) {
    put = taken(::write(shared_.pipe.write_end.get(), bytes.data(), bytes.size()));
  }
  account(shared_, tap, {.direction = direction}, bytes.size(), put, slot);
}

void MirrorLane::end(MirrorTap& tap, Direction direction, StreamEnd how) {
  if (!shared_.wiring.mirrored[static_cast<std::size_t>(direction)]) return;
  MirrorTap::Stream& stream = tap.streams[static_cast<std::size_t>(direction)];
  if (stream.ended) return;
  stream.ended = true;
  MirrorHead* const slot = shared_.heads.begin();
  if (slot == nullptr) {
    add(shared_.dropped_records, 1);
    return;
  }
  std::uint8_t flags = how == StreamEnd::Fin ? mirror_flag::end : mirror_flag::reset;
  if (stream.gap) {
    flags |= mirror_flag::gap;
    add(shared_.gaps, 1);
  }
  commit(shared_,
         {.connection = tap.connection,
          .offset = stream.offset,
          .realtime_ns = coarse_realtime_ns(),
          .direction = direction,
          .flags = flags},
         *slot);
}

}  // namespace pagewire::relay
