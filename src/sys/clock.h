// The clocks, by name. CLOCK_MONOTONIC orders events and measures time; CLOCK_REALTIME is for
// Date, Last-Modified and logs. Both are vDSO calls (no syscall) where the clock source is the TSC.
#pragma once

#include <cstdint>
#include <ctime>

namespace pagewire::sys {

inline std::int64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

/// A tick's resolution (1 to 10 ms) and a third of the price: for timeouts.
inline std::int64_t monotonic_coarse_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec * 1'000 + now.tv_nsec / 1'000'000;
}

inline std::int64_t realtime_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

/// Whole seconds, for Date and Last-Modified.
inline std::int64_t realtime_coarse_s() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec;
}

}  // namespace pagewire::sys
