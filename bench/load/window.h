// What a load client counts between the opening and the closing of its measured window.
#pragma once

#include <fmt/core.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <span>
#include <string>

#include "bench/histogram.h"
#include "sys/clock.h"

namespace pagewire::bench {

inline constexpr std::uint64_t max_errors = 100;
inline constexpr std::int64_t stall_limit_ms = 10'000;

inline std::int64_t own_cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

struct Window {
  std::int64_t opened_at_ns = sys::monotonic_ns();
  std::int64_t cpu_at_open_ns = own_cpu_ns();
  std::uint64_t body_bytes = 0;
  std::uint64_t late = 0;
  Histogram latency_ns;
};

/// The percentiles as a JSON object; null where nothing was recorded.
inline std::string latency_json(const Histogram& latency) {
  constexpr std::array<std::pair<const char*, double>, 5> shown = {
      {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99_9", 0.999}, {"max", 1}}};
  std::string json;
  for (const auto& [name, fraction] : shown) {
    // No request was answered within the window (a body larger than the window is long).
    const std::string value =
        latency.count() == 0
            ? std::string("null")
            : fmt::format("{:.1f}", static_cast<double>(latency.percentile(fraction)) / 1e3);
    json += fmt::format("{}\"{}\":{}", json.empty() ? "" : ",", name, value);
  }
  return "{" + json + "}";
}

/// Counts by kind as a JSON object; `names` are as many as `counts`.
inline std::string counts_json(std::span<const char* const> names,
                               std::span<const std::uint64_t> counts) {
  std::string json;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    json += fmt::format("{}\"{}\":{}", json.empty() ? "" : ",", names[i], counts[i]);
  }
  return "{" + json + "}";
}

}  // namespace pagewire::bench
