// The status line: what the server does now, once a second, in place on a terminal.
//
// Used by the main thread alone. Where standard output is no terminal nothing is written, unless
// asked for: then plain lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "metrics/metrics.h"

namespace pagewire::cli {

enum class StatusMode : std::uint8_t { Auto, On, Off };

struct StatusSettings {
  StatusMode mode = StatusMode::Auto;
  std::string log_file;      ///< of the access log; "-" is standard output
  std::string_view counted;  ///< what Totals::requests are: "requests"
};

/// What is counted, at one moment.
struct StatusSample {
  metrics::Totals totals;
  std::int64_t cpu_ns = 0;  ///< user and system time of the process
  std::int64_t monotonic_ns = 0;
};

struct StatusStyle {
  std::string_view counted;
  std::size_t columns = 0;
};
/// "12 connections  4.31 Gbit/s  12345 requests/s  CPU 73%" for the time between the two samples,
/// cut to the columns. Pure.
std::string status_text(const StatusSample& before, const StatusSample& now,
                        const StatusStyle& style);

class StatusLine {
 public:
  /// Nothing is shown before the first update().
  explicit StatusLine(const StatusSettings& settings);

  bool enabled() const { return enabled_; }
  void update(const metrics::Totals& totals);
  /// Takes the line off the terminal, so that other text can stand there.
  void clear();

 private:
  std::string_view counted_;
  bool in_place_;  ///< standard output is a terminal
  bool enabled_;
  bool shown_ = false;
  StatusSample last_;
};

}  // namespace pagewire::cli
