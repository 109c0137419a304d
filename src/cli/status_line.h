// The status line: what the server does now, once a second, in place on a terminal.
//
// Used by the main thread alone. Where standard output is no terminal nothing is written, unless
// asked for: then plain lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cli/serve_options.h"
#include "metrics/metrics.h"

namespace pagewire::cli {

/// What is counted, at one moment.
struct StatusSample {
  metrics::Totals totals;
  std::int64_t cpu_ns = 0;  ///< user and system time of the process
  std::int64_t monotonic_ns = 0;
};

/// "12 connections  4.31 Gbit/s  12345 requests/s  CPU 73%" for the time between the two samples,
/// cut to `columns`. Pure.
std::string status_text(const StatusSample& before, const StatusSample& now, std::size_t columns);

class StatusLine {
 public:
  /// Nothing is shown before the first update().
  explicit StatusLine(const ServeSettings& settings);

  bool enabled() const { return enabled_; }
  void update(const metrics::Totals& totals);
  /// Takes the line off the terminal, so that other text can stand there.
  void clear();

 private:
  bool in_place_;  ///< standard output is a terminal
  bool enabled_;
  bool shown_ = false;
  StatusSample last_;
};

}  // namespace pagewire::cli
