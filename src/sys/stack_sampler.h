// Sampling whole processes: where all their threads spend CPU time, kernel and user stacks
// (StackSampler), and what their system calls return (SyscallSampler).
//
// Rests on perf_event_open(2): an event for each thread on each CPU, inherited by threads that are
// made later, and a ring for each CPU. Not thread-safe.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"
#include "sys/perf.h"
#include "sys/perf_ring.h"

struct perf_event_attr;

namespace pagewire::sys {

/// The threads of a process now (/proc/PID/task). Errors: ENOENT (it has ended), EACCES.
Result<std::vector<pid_t>> threads_of(pid_t process);

/// One kind of event on many threads; private to sys/.
class ThreadEvents {
 public:
  using Take = std::function<void(std::span<const unsigned char> record)>;

  /// Off until start(). A thread that ends meanwhile is left out. Errors: as PerfCounter::open;
  /// EMFILE (threads times CPUs is more than RLIMIT_NOFILE), EPERM also for too large rings.
  static Result<ThreadEvents> open(const perf_event_attr& attributes,
                                   std::span<const pid_t> threads, std::size_t ring_pages);
  Result<void> start();
  Result<void> stop();
  void drain(const Take& take);
  /// Of all events together, inherited ones included.
  std::uint64_t count() const;

 private:
  Result<void> control(unsigned long request);
  std::vector<Fd> events_;
  std::vector<PerfRing> rings_;
};

/// What the thread had in user mode, for unwinding; empty where it was not asked for.
struct UserState {
  std::vector<std::uint64_t> registers;  ///< in DWARF's order of this architecture
  std::uint64_t pc = 0;
  std::uint64_t stack_pointer = 0;
  std::span<const unsigned char> stack;  ///< from the stack pointer on, upwards
};

/// Valid until the function that it was given to returns.
struct StackSample {
  pid_t process = 0;
  pid_t thread = 0;
  std::span<const std::uint64_t> kernel;  ///< innermost first; empty: it ran in user mode
  std::span<const std::uint64_t> user;    ///< likewise, as far as frame pointers lead
  UserState state;
};

struct StackSamplerOptions {
  PerfEvent event = PerfEvent::CpuClock;  ///< or Cycles
  unsigned frequency_hz = 997;            ///< of CPU time
  bool kernel = true;                     ///< false: user mode alone, which needs less permission
  std::uint32_t stack_bytes = 8192;       ///< of UserState::stack; 0: none
};

class StackSampler {
 public:
  static Result<StackSampler> open(std::span<const pid_t> threads,
                                   const StackSamplerOptions& options);
  Result<void> start() { return events_.start(); }
  Result<void> stop() { return events_.stop(); }
  void drain(const std::function<void(const StackSample& sample)>& take);
  /// Samples that found the ring full or were throttled, as far as the kernel has told: at least.
  std::uint64_t lost() const { return lost_; }

 private:
  StackSampler(ThreadEvents events, bool with_state)
      : events_(std::move(events)), with_state_(with_state) {}
  void take(std::span<const unsigned char> record,
            const std::function<void(const StackSample& sample)>& into);

  ThreadEvents events_;
  bool with_state_;
  std::uint64_t lost_ = 0;
  std::vector<std::uint64_t> kernel_;
  std::vector<std::uint64_t> user_;
};

struct SyscallSample {
  std::int64_t number = 0;
  std::int64_t result = 0;  ///< a count, or -errno
};

/// Each `every`-th return of a system call, by the tracepoint raw_syscalls:sys_exit.
class SyscallSampler {
 public:
  /// Errors: as id_of() of tracepoint.h and PerfCounter::open.
  static Result<SyscallSampler> open(std::span<const pid_t> threads, std::uint64_t every);
  Result<void> start() { return events_.start(); }
  Result<void> stop() { return events_.stop(); }
  void drain(std::vector<SyscallSample>& into);
  std::uint64_t calls() const { return events_.count(); }

 private:
  explicit SyscallSampler(ThreadEvents events) : events_(std::move(events)) {}
  ThreadEvents events_;
};

}  // namespace pagewire::sys
