// Ring and BufferRing: io_uring(7) and its ring of provided buffers, as owned objects.
//
// A Ring is made by one thread and then used by the one that calls enable(), by no other
// (IORING_SETUP_SINGLE_ISSUER, _R_DISABLED: io_uring_setup(2)). Kernel facts relied on: with
// IORING_SETUP_DEFER_TASKRUN (6.1) operations complete only inside io_uring_enter(2) that asks for
// events, never behind the program's back; with IORING_FEAT_NODROP a full completion queue loses
// nothing: the kernel keeps what does not fit until the next io_uring_enter(2), and says
// IORING_SQ_CQ_OVERFLOW meanwhile. A kernel that knows DEFER_TASKRUN also knows multishot accept
// (5.19), multishot receive (6.0) and rings of provided buffers (5.19).
#pragma once

#include <liburing.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "sys/ring_settings.h"

namespace pagewire::sys {

/// One operation's news; `tag` is what its submission carried.
struct Completion {
  std::uint64_t tag;
  std::int32_t result;  ///< what the call would have returned, or -errno
  std::uint32_t flags;  ///< IORING_CQE_F_...

  bool more() const { return (flags & IORING_CQE_F_MORE) != 0; }  ///< the operation goes on
  bool has_buffer() const { return (flags & IORING_CQE_F_BUFFER) != 0; }
  std::uint16_t buffer() const {
    return static_cast<std::uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT);
  }
};

class Ring {
 public:
  /// Errors of io_uring_setup(2): ENOSYS (no io_uring in this kernel, or seccomp says so), EPERM
  /// (sysctl kernel.io_uring_disabled, or seccomp), EINVAL (older than 6.1), ENOMEM (a limit on
  /// memory), EMFILE, ENFILE.
  static Result<Ring> create(const RingSettings& settings);

  /// From now on this thread alone uses it. Before that nothing may be submitted.
  Result<void> enable();
  /// Calls find the ring without looking its descriptor up; for the calling thread, until it says
  /// release_index(). Without effect where the kernel refuses.
  void register_index() { static_cast<void>(::io_uring_register_ring_fd(ring_.get())); }
  void release_index() { static_cast<void>(::io_uring_unregister_ring_fd(ring_.get())); }

  /// A place in the next batch; nullptr: it is full, submit() first.
  io_uring_sqe* next() { return ::io_uring_get_sqe(ring_.get()); }
  /// Which of the `entries` places it is. Reused once the kernel has taken the submission.
  std::size_t place_of(const io_uring_sqe& sqe) const {
    return static_cast<std::size_t>(&sqe - ring_->sq.sqes);
  }
  std::size_t places() const { return ring_->sq.ring_entries; }

  /// Hands the batch over and lets completed operations be told; does not wait. Ends the process
  /// when the kernel has lost a completion (EBADR), as does submit_and_wait().
  void submit();
  /// The same, and waits for a completion, at most `timeout_ms`, or a signal.
  void submit_and_wait(int timeout_ms);

  /// Appends all completions that are there.
  void reap(std::vector<Completion>& into);
  /// The kernel holds completions that the queue had no room for.
  bool has_overflow() const { return ::io_uring_cq_has_overflow(ring_.get()); }
  /// Whether every one of these operations (IORING_OP_...) is known to the kernel.
  bool knows(std::span<const int> operations);

  io_uring& raw() { return *ring_; }

 private:
  struct Exit {
    void operator()(io_uring* ring) const {
      ::io_uring_queue_exit(ring);
      delete ring;
    }
  };
  explicit Ring(std::unique_ptr<io_uring, Exit> ring) : ring_(std::move(ring)) {}
  std::unique_ptr<io_uring, Exit> ring_;
};

/// Buffers that the kernel picks for receives (IOSQE_BUFFER_SELECT, group `group`); each is lent to
/// the program by a completion and must be given back. Goes after its Ring.
class BufferRing {
 public:
  static constexpr int group = 1;

  /// Errors of io_uring_register_buf_ring(3): ENOMEM, EINVAL.
  static Result<BufferRing> create(Ring& ring, const BufferSettings& settings);

  std::span<const char> view(std::uint16_t buffer, std::size_t size) const {
    return std::span<const char>(memory_.get() + buffer * size_bytes_, size);
  }
  void give_back(std::uint16_t buffer);

 private:
  struct Free {
    void operator()(void* memory) const { ::free(memory); }
  };
  BufferRing() = default;
  std::unique_ptr<io_uring_buf_ring, Free> ring_;
  std::unique_ptr<char[], Free> memory_;
  std::size_t size_bytes_ = 0;
  int mask_ = 0;
};

}  // namespace pagewire::sys
