// tsc_hz of meter.h: the time stamp counter of an x86 CPU that ticks at one rate in every state
// (constant_tsc and nonstop_tsc in /proc/cpuinfo). Elsewhere there is nothing to multiply with.
#include <sys/prctl.h>
#include <time.h>

#include <array>
#include <cstdint>
#include <string_view>

#include "bench/meter.h"
#include "sys/text_file.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace pagewire::bench {

#if defined(__x86_64__)

namespace {

struct Reading {
  std::uint64_t tsc = 0;
  std::int64_t ns = 0;
  std::int64_t uncertainty_ns = 0;
};

std::int64_t raw_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_RAW, &now);  // not steered by NTP
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

// The best of a few: being interrupted between clock and counter spoils one.
Reading read_both() {
  Reading best{.uncertainty_ns = INT64_MAX};
  for (int attempt = 0; attempt < 16; ++attempt) {
    const std::int64_t before = raw_ns();
    const std::uint64_t tsc = __rdtsc();
    const std::int64_t after = raw_ns();
    if (after - before >= best.uncertainty_ns) continue;
    best = {.tsc = tsc, .ns = before + (after - before) / 2, .uncertainty_ns = after - before};
  }
  return best;
}

bool is_invariant() {
  std::array<char, 8192> buffer;  // the first CPU's part is enough
  const Result<std::string_view> text = sys::read_text("/proc/cpuinfo", buffer);
  if (!text) return false;
  const std::size_t at = text->find("\nflags");
  if (at == text->npos) return false;
  const std::string_view flags = text->substr(at + 1, text->find('\n', at + 1) - at);
  return flags.find(" constant_tsc") != flags.npos && flags.find(" nonstop_tsc") != flags.npos;
}

// prctl(2): user space may have been forbidden to read it; then reading is SIGSEGV.
bool is_readable() {
  int mode = 0;
  return ::prctl(PR_GET_TSC, &mode) == 0 && mode == PR_TSC_ENABLE;
}

}  // namespace

std::optional<double> tsc_hz() {
  if (!is_invariant() || !is_readable()) return std::nullopt;
  const Reading begin = read_both();
  constexpr timespec interval{.tv_sec = 0, .tv_nsec = 50'000'000};
  ::nanosleep(&interval, nullptr);  // EINTR: a shorter one will do
  const Reading end = read_both();
  if (end.ns <= begin.ns || end.tsc <= begin.tsc) return std::nullopt;
  return static_cast<double>(end.tsc - begin.tsc) * 1e9 / static_cast<double>(end.ns - begin.ns);
}

#else

std::optional<double> tsc_hz() {
  return std::nullopt;
}

#endif

}  // namespace pagewire::bench
