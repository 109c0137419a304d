// SIGINT and SIGTERM of a command that has something to say before it ends.
//
// Invariant: both are blocked from construction on, so that nothing is cut off between two calls;
// processes forked meanwhile inherit that, and so leave the decision to this one. SIGPIPE and
// SIGXFSZ are ignored: the calls then return EPIPE and EFBIG.
#pragma once

#include <csignal>
#include <optional>

#include "base/result.h"
#include "sys/fd.h"

namespace pagewire::cli {

class StopSignals {
 public:
  StopSignals();

  /// True once one has come; does not wait. After the first one another ends the process at once.
  bool asked();
  /// A signalfd(2): readable when one has come. Errors: EMFILE.
  Result<sys::Fd> open_fd() const;
  /// From now on the next one ends the process at once; asked() still tells of an earlier one.
  void let_next_end();

  /// As a shell shows the end by the signal that came: 130 for SIGINT, 143 for SIGTERM.
  std::optional<int> exit_status() const;

 private:
  sigset_t signals_{};
  int taken_ = 0;
};

/// For commands that only read and write.
void ignore_write_signals();

}  // namespace pagewire::cli
