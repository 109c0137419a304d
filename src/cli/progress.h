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
  double done = 0;
  double total = 0;
  std::int64_t elapsed_ns = 0;  ///< since the beginning
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
  std::string command_;
  StopSignals& signals_;
  bool in_place_;  ///< standard error is a terminal
  bool shown_ = false;
  bool stopping_ = false;
  std::int64_t began_ns_;
  std::int64_t drawn_ns_ = 0;
};

}  // namespace pagewire::cli
