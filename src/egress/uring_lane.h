// UringLane: a worker's io_uring for one egress path, with everything that its operations may still
// refer to: buffers, pipes, files.
//
// A transfer holds at most one operation (LaneHold::operation) and one buffer. Invariants:
// - Nothing is used again before the kernel has let go of it: a buffer is free when no transfer has
//   it and every send from it has had its last completion (the result, or after IORING_CQE_F_MORE
//   the notification); an operation, its pipe and its file are free after its completion.
// - The owner may die first. let_go() makes its operation nobody's; the operation keeps pipe and
//   file until it is over and closes them then. So whoever said Submitted may close its socket and
//   forget its transfer at once, after finish(): the kernel has a reference to the socket since
//   io_uring_enter(2) took the send, and where a thread of the kernel's takes it later (SQPOLL) it
//   finds the socket by its slot in the ring's table of files, never by a number that may have
//   become another client's. let_go() empties the slot, and it is not used again before the
//   operation is over.
// - A transfer is woken once for each time it said Submitted.
// One thread, the worker's: open(), all that paths call, reap() and settle(). The destructor may
// run on another one once the worker's has ended.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "egress/egress.h"
#include "sys/uring.h"

namespace pagewire::egress {

class UringLane {
 public:
  /// Of each send lane. 4 MiB of locked memory: half of what a user usually may lock
  /// (RLIMIT_MEMLOCK). A buffer is what one send takes; two of them fill the send buffer that the
  /// server allows (TCP_NOTSENT_LOWAT).
  static constexpr std::size_t buffers = 32;
  static constexpr ByteCount buffer_bytes{128 * kib};
  /// Operations under way at once; beyond these a step does the work itself.
  static constexpr std::size_t operations = 256;
  /// Threads of the kernel that splice for this worker at once: as many reads of the disk.
  static constexpr unsigned splice_threads = 32;
  /// How long the thread of a polled lane spins after its last submission before it sleeps.
  static constexpr unsigned thread_idle_ms = 10;
  /// How long the peer of a polled lane may acknowledge nothing, or keep its window closed.
  static constexpr unsigned user_timeout_ms = 60'000;
  /// How long settle() waits for operations, and for notifications.
  static constexpr std::int64_t settle_ms = 5'000;
  static constexpr std::int64_t notification_ms = 100;

  /// Errors: as Uring::open(); ENOMEM (RLIMIT_MEMLOCK); EOPNOTSUPP: the kernel has not the
  /// operation.
  static Result<std::unique_ptr<UringLane>> open(LaneKind kind);
  ~UringLane();

  // For whoever owns the loop:
  int fd() const { return ring_.fd(); }  ///< readable: reap()
  /// Takes what has come, and wakes the transfers that waited for it.
  void reap();
  /// The worker ends: cancels what can be cancelled, and waits, within the limits above, until the
  /// kernel has returned everything. Sends need no waiting to be safe: their pages stay the
  /// kernel's until it lets go, whether or not the ring is still there.
  void settle();
  LaneCounters counters() const;

  // For the paths:
  /// Gives the transfer a buffer that nobody uses, instead of the one it has. False: none is free.
  bool take_buffer(Transfer& transfer);
  void release_buffer(Transfer& transfer);
  std::span<char> buffer_of(const Transfer& transfer) const { return buffer(transfer.lane.buffer); }
  /// Sends `bytes` of the transfer's buffer. False: nothing was submitted (too many are, or the
  /// kernel has no memory); another way has to be taken this time.
  bool submit_send(Transfer& transfer, std::span<const char> bytes, bool more);
  /// Moves the transfer's pipe, which must be empty, into the operation. False: as above, and the
  /// transfer still has its pipe.
  bool submit_splice(Transfer& transfer, ByteRange range);
  bool under_way(const Transfer& transfer) const;
  struct Outcome {
    std::int32_t result = 0;  ///< a count, or -errno
    ByteCount asked;
  };
  /// Of an operation that is over: takes it off the transfer; a pipe goes back to it.
  Outcome take_outcome(Transfer& transfer);
  /// Takes everything off the transfer.
  void let_go(Transfer& transfer);

 private:
  struct Operation {
    enum class State : std::uint8_t { Free, UnderWay, Over };
    State state = State::Free;
    std::int32_t file_slot = -1;  // to be freed when it is over; set once the owner has gone
    std::int32_t result = 0;
    ByteCount asked;
    Transfer* owner = nullptr;  // nullptr: it has gone
    sys::Pipe pipe;             // Splice
    content::FileRef file;      // Splice: keeps the descriptor open, see sys/uring.h
  };
  struct Buffer {
    std::uint32_t with_kernel = 0;  // sends whose last completion has not come
    std::uint32_t refused = 0;      // those of them that took nothing
    bool taken = false;             // by a transfer
  };
  /// Indexes that are free; never more than at the start.
  using FreeList = std::vector<std::int32_t>;

  UringLane(LaneKind kind, sys::Uring ring) : kind_(kind), ring_(std::move(ring)) {}
  Result<void> set_up();
  Result<void> try_out();
  Result<void> register_memory();

  std::span<char> buffer(std::int32_t index) const;
  void put_back_if_free(std::int32_t index);
  bool take_file_slot(Transfer& transfer);
  std::int32_t take_operation(Transfer& transfer);
  void free_operation(std::int32_t index);
  bool submitted(Transfer& transfer);
  void completed(const sys::Uring::Completion& completion);
  void count_send(Buffer& buffer, const sys::Uring::Completion& completion);
  void result_came(std::int32_t index, const sys::Uring::Completion& completion);
  void cancel_all();
  template <class Condition>
  void wait_until(std::int64_t at_most_ms, Condition over);

  LaneKind kind_;
  sys::AnonymousMemory memory_;  // outlives the ring
  sys::Uring ring_;
  std::vector<Operation> operations_;
  std::vector<Buffer> buffers_;
  FreeList free_operations_;
  FreeList free_buffers_;
  FreeList free_slots_;
  std::uint64_t buffers_with_kernel_ = 0;
  LaneCounters counters_;
};

/// Path::probe of a path with such a lane: opens one and closes it again.
Availability probe_lane(LaneKind kind);
/// Path::equip.
Result<void> open_lane(Resources& resources, LaneKind kind);
/// The transfer's lane; nullptr where it was not opened.
UringLane* lane_of(const Transfer& transfer, LaneKind kind);

}  // namespace pagewire::egress
