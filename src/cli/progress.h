// The progress of a bench on standard error: one line, drawn over and over, on a terminal; nothing
// but the notes elsewhere. And the ear for Ctrl-C.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "bench/bench.h"
#include "cli/stop_signals.h"

namespace pagewire::cli {

struct ProgressState {
  double done_s = 0;  ///< of total_s, as it was planned
  double total_s = 0;
  double pace = 1;  ///< seconds that a planned one takes
  std::string_view what;
};

/// "round 2 of 5: splice  [#########...........]  45%  12 s left", cut to `columns`: the bar goes
/// first, then the rest from its end. Pure.
std::string progress_text(const ProgressState& state, std::size_t columns);

class Progress final : public bench::Watch {
 public:
  /// `command` begins every note: "pagewire bench run".
  Progress(std::string_view command, StopSignals& signals);

  void progress(double done, double total, std::string_view what) override;
  void note(const std::string& line) override;
  bool stop_asked() override;

  /// Takes the line off the terminal, so that other text can stand there.
  void clear();

 private:
  double pace(double done_s, std::int64_t now_ns);

  std::string command_;
  StopSignals& signals_;
  bool in_place_;  ///< standard error is a terminal
  bool shown_ = false;
  bool stopping_ = false;
  std::int64_t drawn_ns_ = 0;
  std::int64_t first_ns_ = 0;  ///< when something was done for the first time ...
  double first_done_s_ = 0;    ///< ... and how much
};

}  // namespace pagewire::cli
