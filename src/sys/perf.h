// perf_event_open(2) on one thread: counters, and a sampler that asks where the thread is.
//
// Owns the event's descriptor and, for the sampler, the ring that the kernel writes samples to.
// An event counts only while its thread runs, in user mode and in the kernel, softirqs that
// interrupt the thread included. Nothing is inherited by threads that it makes later.
//
// Which events there are depends on the machine (a virtual one often has no PMU) and on permission
// (kernel.perf_event_paranoid, CAP_PERFMON, seccomp): reason_for() says which it was.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"
#include "sys/perf_ring.h"

namespace pagewire::sys {

enum class PerfEvent : std::uint8_t {
  Cycles,         ///< of the CPU; needs a PMU
  LlcLoadMisses,  ///< loads that the last-level cache did not have; needs a PMU
  Tracepoint,
  CpuClock,  ///< a timer of the kernel's that runs while the thread does
};

/// For people: "no PMU: perf_event_open says ENOENT", "... EACCES (kernel.perf_event_paranoid is
/// 2, and there is no CAP_PERFMON)".
std::string reason_for(PerfEvent event, const Error& error);

struct CounterReading {
  std::uint64_t count = 0;
  std::uint64_t enabled_ns = 0;  ///< the thread ran so long while the counter was on
  std::uint64_t running_ns = 0;  ///< of that, with a register of the PMU: less, when it is shared
};

class PerfCounter {
 public:
  /// Off until start(). Errors: ENOENT and EOPNOTSUPP (no PMU, or it has no such event), EACCES and
  /// EPERM (no permission), ESRCH (no such thread), EMFILE.
  static Result<PerfCounter> open(PerfEvent event, pid_t thread);
  /// `id` from tracepoint.h. Errors: likewise; EINVAL: no such tracepoint.
  static Result<PerfCounter> open_tracepoint(std::uint64_t id, pid_t thread);

  /// From here on, and from zero.
  Result<void> start();
  Result<void> stop();
  /// Since start(). After the thread's end it stays as it was.
  Result<CounterReading> read() const;

 private:
  explicit PerfCounter(Fd fd) : fd_(std::move(fd)) {}
  Result<CounterReading> read_total() const;
  Fd fd_;
  CounterReading before_;  // times are never reset by the kernel
};

struct CpuSample {
  std::uint64_t address = 0;
  bool in_kernel = false;
};

/// Reads a sampler's records. Apart from the ring, so that records that a machine rarely makes can
/// be tested.
class SampleRecords {
 public:
  explicit SampleRecords(std::uint64_t period_ns) : period_ns_(period_ns) {}
  /// Adds the sample, if it is one, to `into`.
  void take(const unsigned char* record, std::vector<CpuSample>& into);
  std::uint64_t lost() const { return lost_; }

 private:
  std::uint64_t period_ns_;
  std::uint64_t lost_ = 0;
  std::uint64_t throttled_at_ns_ = 0;  // 0: it is not
};

struct SamplerOptions {
  std::uint64_t period_ns = 500'000;  ///< of CPU time of the thread
  std::size_t ring_pages = 64;        ///< a power of two; 256 KiB are 8 s of samples at 2 kHz
};

/// A sample each `period_ns` of the thread's CPU time, by a high-resolution timer. Where interrupts
/// are off it waits until they are on again: such code shows up in the line after it.
class CpuSampler {
 public:
  /// Off until start(). Errors: as PerfCounter; EPERM also when the ring is more than
  /// kernel.perf_event_mlock_kb.
  static Result<CpuSampler> open(pid_t thread, const SamplerOptions& options);

  Result<void> start();
  Result<void> stop();
  /// Adds what the ring has to `into` and empties it. Samples of a hypervisor or a guest are left
  /// out.
  void drain(std::vector<CpuSample>& into);
  /// Samples that found the ring full, as far as the kernel has told in the ring itself, and those
  /// that it did not take because it found sampling too expensive (throttled; as many as there was
  /// time for, so rather too many).
  std::uint64_t lost() const { return records_.lost(); }

 private:
  CpuSampler(Fd fd, PerfRing ring, std::uint64_t period_ns)
      : fd_(std::move(fd)), ring_(std::move(ring)), records_(period_ns) {}

  Fd fd_;
  PerfRing ring_;
  SampleRecords records_;
};

}  // namespace pagewire::sys
