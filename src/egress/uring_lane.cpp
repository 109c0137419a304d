// See uring_lane.h. Opening lanes, and saying why there is none, is in uring_lanes.cpp.
//
// A completion's tag names its operation (low half) and, for sends, its buffer (high half): the
// notification may come long after the operation has become another transfer's, and concerns the
// buffer alone.
// Rests on io_uring_enter(2), IORING_OP_SEND_ZC (two completions: the result, and, when it has
// IORING_CQE_F_MORE, the notification; also of a send that failed), IORING_OP_SPLICE,
// IORING_OP_ASYNC_CANCEL.
#include "egress/uring_lane.h"

#include "base/check.h"
#include "sys/clock.h"
#include "sys/socket.h"

namespace pagewire::egress {

namespace {

constexpr std::uint64_t nobody = ~std::uint64_t{0};

std::uint64_t tag_of(std::int32_t operation, std::int32_t buffer) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(operation)) |
         static_cast<std::uint64_t>(static_cast<std::uint32_t>(buffer)) << 32U;
}
std::int32_t operation_of(std::uint64_t tag) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(tag));
}
std::int32_t buffer_of_tag(std::uint64_t tag) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(tag >> 32U));
}

std::int32_t pop(std::vector<std::int32_t>& free) {
  const std::int32_t index = free.back();
  free.pop_back();
  return index;
}

std::vector<std::int32_t> all_free(std::size_t count) {
  std::vector<std::int32_t> free(count);
  for (std::size_t i = 0; i < count; ++i) free[i] = static_cast<std::int32_t>(count - 1 - i);
  return free;
}

/// The same file, counted. Segments refer to files that may only be read; the count is none of what
/// is read.
content::FileRef hold(const content::OpenFile& file) {
  return content::FileRef(const_cast<content::OpenFile*>(&file));
}

}  // namespace

// ---------------------------------------------------------------- opening

Result<std::unique_ptr<UringLane>> UringLane::open(LaneKind kind) {
  const bool polled = kind == LaneKind::PolledSend;
  Result<sys::Uring> ring =
      sys::Uring::open({.kernel_thread = polled, .thread_idle_ms = polled ? thread_idle_ms : 0});
  if (!ring) return tl::unexpected(ring.error());
  std::unique_ptr<UringLane> lane(new UringLane(kind, std::move(*ring)));
  if (Result<void> ready = lane->set_up(); !ready) return tl::unexpected(ready.error());
  return lane;
}

Result<void> UringLane::set_up() {
  const bool sends = kind_ != LaneKind::Splice;
  const auto needed = sends ? sys::Uring::Operation::SendZeroCopy : sys::Uring::Operation::Splice;
  if (!ring_.supports(needed)) return failure("io_uring_probe", EOPNOTSUPP);
  operations_.resize(operations);
  free_operations_ = all_free(operations);
  if (!sends) return ring_.limit_workers(splice_threads);
  if (Result<void> registered = register_memory(); !registered) return registered;
  buffers_.resize(buffers);
  free_buffers_ = all_free(buffers);
  if (kind_ == LaneKind::PolledSend) {
    // One for each operation, and for each transfer that holds one between two operations: a
    // transfer that finds none goes another way.
    constexpr std::size_t slots = 4 * operations;
    if (Result<void> reserved = ring_.reserve_files(slots); !reserved) return reserved;
    free_slots_ = all_free(slots);
  }
  return try_out();
}

Result<void> UringLane::register_memory() {
  constexpr ByteCount size{buffers * buffer_bytes.value};
  Result<sys::AnonymousMemory> memory = sys::AnonymousMemory::map(size);
  if (!memory) return tl::unexpected(memory.error());
  memory_ = std::move(*memory);
  // ENOMEM: RLIMIT_MEMLOCK. A ring that was closed a moment ago gives its share back only when a
  // worker thread of the kernel has come to it.
  constexpr int attempts = 10;
  constexpr useconds_t pause_us = 20'000;
  Result<void> registered = ring_.register_buffer(memory_.bytes());
  for (int i = 1; i < attempts && !registered && registered.error().errno_value == ENOMEM; ++i) {
    ::usleep(pause_us);
    registered = ring_.register_buffer(memory_.bytes());
  }
  return registered;
}

/// A send to no socket: EBADF when the kernel knows everything that our sends ask for, EINVAL when
/// it does not.
Result<void> UringLane::try_out() {
  const bool in_table = kind_ == LaneKind::PolledSend;
  const sys::Uring::Send send{
      .socket = in_table ? 0 : -1, .in_table = in_table, .bytes = buffer(0), .more = false};
  PW_CHECK(ring_.queue_send(send, nobody));
  if (Result<void> submitted = ring_.submit(); !submitted) return submitted;
  std::array<sys::Uring::Completion, 2> room;
  constexpr std::int64_t patience_ms = 1'000;
  if (Result<void> came = ring_.wait(patience_ms); !came) return came;  // ETIME
  for (const sys::Uring::Completion& completion : ring_.take(room)) {
    if (completion.notification) continue;
    if (completion.result == -EINVAL) return failure("io_uring(SEND_ZC)", EOPNOTSUPP);
  }
  return {};  // a notification that comes later is nobody's
}

// ---------------------------------------------------------------- buffers

std::span<char> UringLane::buffer(std::int32_t index) const {
  const std::size_t at = static_cast<std::size_t>(index) * buffer_bytes.value;
  return memory_.bytes().subspan(at, buffer_bytes.value);
}

bool UringLane::take_buffer(Transfer& transfer) {
  if (transfer.lane.buffer >= 0) release_buffer(transfer);
  if (free_buffers_.empty()) reap();
  if (free_buffers_.empty()) {
    ++counters_.without_buffer;
    return false;
  }
  const std::int32_t index = pop(free_buffers_);
  buffers_[static_cast<std::size_t>(index)].taken = true;
  transfer.lane.buffer = index;
  return true;
}

void UringLane::release_buffer(Transfer& transfer) {
  const std::int32_t index = std::exchange(transfer.lane.buffer, -1);
  transfer.lane.buffered = {};
  transfer.lane.buffered_file = nullptr;
  if (index < 0) return;
  buffers_[static_cast<std::size_t>(index)].taken = false;
  put_back_if_free(index);
}

void UringLane::put_back_if_free(std::int32_t index) {
  const Buffer& buffer = buffers_[static_cast<std::size_t>(index)];
  if (!buffer.taken && buffer.with_kernel == 0) free_buffers_.push_back(index);
}

// ---------------------------------------------------------------- operations

std::int32_t UringLane::take_operation(Transfer& transfer) {
  if (free_operations_.empty()) reap();
  if (free_operations_.empty()) return -1;
  const std::int32_t index = pop(free_operations_);
  Operation& operation = operations_[static_cast<std::size_t>(index)];
  operation.state = Operation::State::UnderWay;
  operation.owner = &transfer;
  ++counters_.operations_in_flight;
  return index;
}

void UringLane::free_operation(std::int32_t index) {
  Operation& operation = operations_[static_cast<std::size_t>(index)];
  if (operation.state == Operation::State::UnderWay) --counters_.operations_in_flight;
  if (operation.file_slot >= 0) free_slots_.push_back(operation.file_slot);
  operation = Operation{};  // closes a pipe that nobody wants any more, and lets the file go
  free_operations_.push_back(index);
}

/// The slot stays the transfer's for all its sends: two calls a transfer instead of none, which is
/// what it costs that no send can reach the next owner of a descriptor's number.
bool UringLane::take_file_slot(Transfer& transfer) {
  if (transfer.lane.file_slot >= 0) return true;
  if (free_slots_.empty()) return false;
  const std::int32_t slot = free_slots_.back();
  // ENOMEM.
  if (!ring_.set_file(static_cast<unsigned>(slot), transfer.transport.socket_fd)) return false;
  // When the process ends, the ring's thread waits, spinning, until each send's memory is free, and
  // a peer that acknowledges nothing would hold it: the kernel gives such a connection up (tcp(7):
  // ETIMEDOUT, which empties the send queue), also after we have closed it. It cannot fail on TCP,
  // and other sockets have no such wait.
  static_cast<void>(sys::set_user_timeout(transfer.transport.socket_fd, user_timeout_ms));
  free_slots_.pop_back();
  transfer.lane.file_slot = slot;
  return true;
}

bool UringLane::submit_send(Transfer& transfer, std::span<const char> bytes, bool more) {
  const bool polled = kind_ == LaneKind::PolledSend;
  if (polled && !take_file_slot(transfer)) return false;
  const std::int32_t index = take_operation(transfer);
  if (index < 0) return false;
  const int socket = polled ? transfer.lane.file_slot : transfer.transport.socket_fd;
  const sys::Uring::Send send{.socket = socket, .in_table = polled, .bytes = bytes, .more = more};
  // Full: the kernel's thread has not come to what was queued before.
  const bool queued = ring_.queue_send(send, tag_of(index, transfer.lane.buffer));
  // EAGAIN: no memory for the request; EBUSY: completions pile up; EOWNERDEAD: the thread of a
  // polled ring has gone, and takes nothing any more.
  if (!queued || !ring_.submit()) {
    free_operation(index);
    return false;
  }
  operations_[static_cast<std::size_t>(index)].asked = ByteCount{bytes.size()};
  transfer.lane.operation = index;
  transfer.lane.handed_over = true;
  Buffer& buffer = buffers_[static_cast<std::size_t>(transfer.lane.buffer)];
  if (buffer.with_kernel++ == 0) ++buffers_with_kernel_;
  return true;
}

bool UringLane::submit_splice(Transfer& transfer, ByteRange range) {
  const std::int32_t index = take_operation(transfer);
  if (index < 0) return false;
  Operation& operation = operations_[static_cast<std::size_t>(index)];
  const content::OpenFile& file = *transfer.segments[transfer.index].file;
  const bool queued = ring_.queue_splice(
      {.file_fd = file.fd(), .range = range, .pipe_fd = transfer.pipe.write_end.get()},
      tag_of(index, -1));
  if (!queued || !ring_.submit()) {  // EAGAIN: no memory for the request; EBUSY: see above
    free_operation(index);
    return false;
  }
  operation.asked = range.count;
  operation.pipe = std::move(transfer.pipe);
  operation.file = hold(file);
  transfer.lane.operation = index;
  ++counters_.splices;
  return true;
}

bool UringLane::under_way(const Transfer& transfer) const {
  const auto index = static_cast<std::size_t>(transfer.lane.operation);
  return operations_[index].state == Operation::State::UnderWay;
}

UringLane::Outcome UringLane::take_outcome(Transfer& transfer) {
  const std::int32_t index = std::exchange(transfer.lane.operation, -1);
  transfer.lane.handed_over = false;
  Operation& operation = operations_[static_cast<std::size_t>(index)];
  PW_CHECK(operation.state == Operation::State::Over && operation.owner == &transfer);
  const Outcome outcome{.result = operation.result, .asked = operation.asked};
  if (kind_ == LaneKind::Splice) transfer.pipe = std::move(operation.pipe);
  free_operation(index);
  return outcome;
}

void UringLane::let_go(Transfer& transfer) {
  LaneHold& hold = transfer.lane;
  if (hold.file_slot >= 0) ring_.clear_file(static_cast<unsigned>(hold.file_slot));
  if (hold.operation >= 0 && under_way(transfer)) {
    Operation& operation = operations_[static_cast<std::size_t>(hold.operation)];
    operation.owner = nullptr;
    operation.file_slot = hold.file_slot;
  } else {
    if (hold.operation >= 0) free_operation(hold.operation);
    if (hold.file_slot >= 0) free_slots_.push_back(hold.file_slot);
  }
  release_buffer(transfer);
  hold = {};
}

// ---------------------------------------------------------------- completions

void UringLane::reap() {
  std::array<sys::Uring::Completion, 64> room;
  for (;;) {
    const std::span<sys::Uring::Completion> came = ring_.take(room);
    for (const sys::Uring::Completion& completion : came) completed(completion);
    if (came.size() < room.size()) return;
  }
}

void UringLane::completed(const sys::Uring::Completion& completion) {
  if (completion.tag == nobody) return;  // a cancellation, or what is left of try_out()
  const std::int32_t buffer_index = buffer_of_tag(completion.tag);
  if (buffer_index >= 0) {
    Buffer& buffer = buffers_[static_cast<std::size_t>(buffer_index)];
    count_send(buffer, completion);
    if (!completion.more) {  // the last completion of a send
      PW_CHECK(buffer.with_kernel > 0);
      if (--buffer.with_kernel == 0) {
        buffer.refused = 0;
        --buffers_with_kernel_;
        put_back_if_free(buffer_index);
      }
    }
  }
  if (!completion.notification) result_came(operation_of(completion.tag), completion);
}

/// A send that the socket did not take (EAGAIN) lent nothing, but has a notification too, which
/// says "copied": it is left out of the account.
void UringLane::count_send(Buffer& buffer, const sys::Uring::Completion& completion) {
  if (!completion.notification) {
    if (completion.more && completion.result <= 0) ++buffer.refused;
    return;
  }
  if (completion.copied && buffer.refused > 0) {
    --buffer.refused;
    return;
  }
  ++counters_.notifications;
  if (completion.copied) ++counters_.copied_notifications;
}

void UringLane::result_came(std::int32_t index, const sys::Uring::Completion& completion) {
  Operation& operation = operations_[static_cast<std::size_t>(index)];
  PW_CHECK(operation.state == Operation::State::UnderWay);
  if (operation.owner == nullptr) return free_operation(index);
  operation.state = Operation::State::Over;
  operation.result = completion.result;
  --counters_.operations_in_flight;
  Transfer& owner = *operation.owner;
  // A step that looks for its own result needs nobody to wake it.
  if (std::exchange(owner.lane.waits, false)) owner.waker.call(owner.waker.self);
}

LaneCounters UringLane::counters() const {
  LaneCounters counters = counters_;
  counters.buffers_in_flight = buffers_with_kernel_;
  return counters;
}

// ---------------------------------------------------------------- the end

template <class Condition>
void UringLane::wait_until(std::int64_t at_most_ms, Condition over) {
  const std::int64_t deadline_ns = sys::monotonic_ns() + at_most_ms * 1'000'000;
  for (;;) {
    reap();
    const std::int64_t left_ms = (deadline_ns - sys::monotonic_ns()) / 1'000'000;
    if (over() || left_ms <= 0) return;
    const Result<void> came = ring_.wait(left_ms);
    // EINTR: a signal, or work in our context; ETIME: the deadline, seen above.
    const bool again =
        came || came.error().errno_value == EINTR || came.error().errno_value == ETIME;
    if (!again) return;
  }
}

void UringLane::settle() {
  // Sends never wait for anything. A splice may wait for the disk.
  if (kind_ == LaneKind::Splice && counters_.operations_in_flight > 0) cancel_all();
  wait_until(settle_ms, [this] { return counters_.operations_in_flight == 0; });
  wait_until(notification_ms, [this] { return buffers_with_kernel_ == 0; });
}

void UringLane::cancel_all() {
  for (std::size_t i = 0; i < operations_.size(); ++i) {
    if (operations_[i].state != Operation::State::UnderWay) continue;
    const std::uint64_t target = tag_of(static_cast<std::int32_t>(i), -1);
    if (ring_.queue_cancel(target, nobody)) static_cast<void>(ring_.submit());
  }
}

UringLane::~UringLane() {
  if (counters_.operations_in_flight > 0) settle();
  for (Operation& operation : operations_) {
    if (operation.state != Operation::State::UnderWay || !operation.pipe.is_open()) continue;
    // A disk that answers nothing for settle_ms. The kernel may still look the descriptors up by
    // their numbers; better they stay open until the process ends than that it finds others.
    operation.pipe.read_end.release();
    operation.pipe.write_end.release();
    static_cast<void>(new content::FileRef(std::move(operation.file)));
  }
}

}  // namespace pagewire::egress
