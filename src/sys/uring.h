// Uring: one io_uring instance, with the few operations that egress paths submit, typed.
//
// Invariants: what was queued is either with the kernel after submit(), or has been taken back when
// that says an error, so that no entry stays behind for a later call to find. Descriptors that an
// operation names must stay open until its completion: operations that run in a worker thread of
// the kernel (splice) look them up there, and those of a ring with a thread of its own (SQPOLL)
// when that thread comes to them. Names in the table of files (set_file) are safe from that.
// Not thread-safe.
//
// Rests on: io_uring_setup(2), io_uring_enter(2), io_uring_register(2); Linux 5.19 for COOP_TASKRUN
// (what the kernel finishes in our context interrupts no running code of ours; it does end
// epoll_wait(2) with EINTR), 6.2 for IORING_SEND_ZC_REPORT_USAGE. Not DEFER_TASKRUN: epoll(7) was
// not woken by completions that such a ring holds back.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "base/result.h"
#include "base/units.h"

struct io_uring;

namespace pagewire::sys {

/// Private memory, in pages of its own. Unlike malloc's it goes back to the kernel when it goes, so
/// a page that a socket still refers to is never written by whoever gets memory next. Children of
/// fork(2) do not have it.
class AnonymousMemory {
 public:
  AnonymousMemory() = default;
  AnonymousMemory(AnonymousMemory&& other) noexcept
      : bytes_(std::exchange(other.bytes_, std::span<char>())) {}
  AnonymousMemory& operator=(AnonymousMemory&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~AnonymousMemory();
  /// Errors: ENOMEM.
  static Result<AnonymousMemory> map(ByteCount size);
  std::span<char> bytes() const { return bytes_; }

 private:
  std::span<char> bytes_;
};

class Uring {
 public:
  enum class Operation : std::uint8_t { SendZeroCopy, Splice };

  struct Settings {
    unsigned entries = 256;       ///< submissions queued at once
    unsigned completions = 1024;  ///< queued at once; beyond these the kernel keeps a list
    bool kernel_thread = false;   ///< SQPOLL: a thread of the kernel's takes submissions
    unsigned thread_idle_ms = 0;  ///< and spins for so long before it sleeps
  };

  struct Completion {
    std::uint64_t tag = 0;
    std::int32_t result = 0;    ///< a count, or -errno
    bool more = false;          ///< a notification with the same tag follows
    bool notification = false;  ///< the kernel has let go of the memory; `result` says nothing
    bool copied = false;        ///< and it had copied the bytes (IORING_NOTIF_USAGE_ZC_COPIED)
  };

  struct Send {
    int socket = -1;  ///< a descriptor, or with `in_table` a slot of set_file()
    bool in_table = false;
    std::span<const char> bytes;  ///< within the registered buffer
    bool more = false;            ///< MSG_MORE
  };

  struct FileToPipe {
    int file_fd = -1;
    ByteRange range;
    int pipe_fd = -1;
  };

  /// Errors: ENOSYS, EPERM (seccomp, kernel.io_uring_disabled), EINVAL (a kernel before 5.19; with
  /// kernel_thread before 6.14), ENOMEM, EMFILE, ENFILE.
  static Result<Uring> open(const Settings& settings);

  bool supports(Operation operation) const;
  /// Once. Errors: ENOMEM (RLIMIT_MEMLOCK).
  Result<void> register_buffer(std::span<char> bytes);
  /// A table of so many files, all empty. Once. Errors: ENOMEM.
  Result<void> reserve_files(unsigned slots);
  Result<void> set_file(unsigned slot, int fd);
  /// An operation that has it keeps it; one that has not looked yet gets EBADF.
  void clear_file(unsigned slot);
  /// Threads that this thread's splices may run in at once (IORING_REGISTER_IOWQ_MAX_WORKERS).
  Result<void> limit_workers(unsigned count);

  /// False: the queue is full.
  [[nodiscard]] bool queue_send(const Send& send, std::uint64_t tag);
  [[nodiscard]] bool queue_splice(const FileToPipe& splice, std::uint64_t tag);
  [[nodiscard]] bool queue_cancel(std::uint64_t target, std::uint64_t tag);
  /// Errors: EAGAIN (no memory for the request), EBUSY (completions have to be taken first),
  /// EOWNERDEAD (the ring's own thread has gone).
  Result<void> submit();

  /// The completions that have come, as many as there is room for. Asks the kernel for those that
  /// it holds back (not finished in our context, or beyond the queue).
  std::span<Completion> take(std::span<Completion> into);
  /// Until there is a completion. Errors: ETIME, EINTR.
  Result<void> wait(std::int64_t at_most_ms);

  /// Readable while there are completions.
  int fd() const;

 private:
  struct Closer {
    void operator()(io_uring* ring) const;
  };
  explicit Uring(std::unique_ptr<io_uring, Closer> ring) : ring_(std::move(ring)) {}
  std::unique_ptr<io_uring, Closer> ring_;
};

}  // namespace pagewire::sys
