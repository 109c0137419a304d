// What the kernel says of the server's process and its CPU: its CPU clock, schedstat, stat, status,
// perf events.
//
// Sources: clock_getcpuclockid(3) (run time in ns), /proc/PID/schedstat (wait time in ns),
// /proc/PID/stat (user and system ticks, faults), /proc/PID/status (context switches), /proc/stat
// (softirq and steal ticks), perf_event_open(2). Reading costs the reader, not the server.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "bench/report.h"

namespace pagewire::bench {

/// One moment; differences of two are a window.
struct MeterSample {
  std::int64_t at_ns = 0;
  std::int64_t run_ns = 0;
  std::int64_t wait_ns = 0;
  double user_s = 0;
  double system_s = 0;
  std::uint64_t voluntary_switches = 0;
  std::uint64_t involuntary_switches = 0;
  std::uint64_t minor_faults = 0;
  std::uint64_t major_faults = 0;
  std::optional<double> softirq_s;           ///< of the server's CPU; none when it is not pinned
  std::optional<std::int64_t> ksoftirqd_ns;  ///< likewise
  double steal_s = 0;                        ///< of the machine
  double machine_s = 0;                      ///< all states of all CPUs, what steal is a share of
};

/// All threads of `pid`. Errors: ESRCH and the like when the process is gone.
Result<MeterSample> sample_process(pid_t pid, std::optional<int> cpu);

/// perf events on a process. Which there are depends on the machine and on permission: each comes
/// with a value or with the reason why it has none.
class Instruments {
 public:
  enum class Kind : std::uint8_t {
    Counters,  ///< cycles and LLC misses: hardware counts them for nothing, so in every round
    Tracing,   ///< those, and system calls (tracepoint) and cpu-clock samples: taxes the server
  };
  /// Never fails: what could not be opened is remembered with its reason.
  static Instruments open(pid_t pid, Kind kind);
  Instruments(Instruments&&) noexcept;
  Instruments& operator=(Instruments&&) noexcept;
  ~Instruments();

  void begin();  ///< the window opens: counts from here
  /// Empties the ring of samples; call at least every 100 ms of a window.
  void drain();
  void end();

  /// Of the window. The figures' reasons are set where there is no value.
  Figure cycles() const;
  Figure llc_load_misses() const;
  Figure syscalls() const;
  Figure copy_share_percent() const;

 private:
  struct Parts;
  explicit Instruments(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

/// The TSC's rate, measured against CLOCK_MONOTONIC_RAW over 50 ms; nullopt where there is none.
std::optional<double> tsc_hz();

}  // namespace pagewire::bench
