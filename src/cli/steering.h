// What a command does that runs until a signal says stop: serve, relay.
//
// Invariant: the signals that end or steer it are blocked in every thread (block_signals() comes
// before any thread is started) and taken by the main one with sigtimedwait(2). Only while it
// drains have SIGINT and SIGTERM a handler, which ends the process. Kernel facts: sendfile, splice
// and write raise SIGPIPE and SIGXFSZ, which are ignored: the calls then return EPIPE and EFBIG.
#pragma once

#include <csignal>
#include <functional>
#include <string>

#include "cli/status_line.h"
#include "metrics/metrics.h"

namespace pagewire::cli {

inline constexpr int exit_done = 0;
inline constexpr int exit_failed = 1;
inline constexpr int exit_usage = 2;

/// A line on standard output, at once.
void say(const std::string& line);
/// A line on standard error; returns `status`.
int complain(const std::string& line, int status);

sigset_t block_signals();

/// What the signals steer.
struct Steered {
  std::function<void()> reopen;  ///< SIGHUP
  std::function<metrics::Totals()> totals;
  std::function<void()> begin_drain;
  std::function<bool()> drained;
  std::function<bool()> end;  ///< after the drain; false when something was cut off
  std::int64_t drain_timeout_ms = 0;
  std::string_view unfinished;  ///< what was cut off then: "unfinished responses"
  /// A second signal resets all sockets: where only FIN says that a stream is whole, the kernel's
  /// own, at the end of a process, would say so of one that was cut short.
  bool resets_at_once = false;
};

/// Shows the status line until SIGINT or SIGTERM comes, then drains. Returns when all has ended.
void run_until_stopped(const Steered& steered, StatusLine& status, const sigset_t& signals);

}  // namespace pagewire::cli
