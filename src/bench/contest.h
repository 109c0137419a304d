// All paths against each other: verified, then measured in rounds that take turns.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/round.h"
#include "bench/watch.h"

namespace pagewire::bench {

/// One workload for all paths.
struct Heat {
  const SourceFile* source = nullptr;
  std::string title;   ///< of the row: "256 MiB x 4, stream"
  std::string suffix;  ///< after what is going on: "" or " at 64 KiB"
};

/// What all heats of a run share. Lives as long as the run; the report is put together from it.
class Contest {
 public:
  /// Both must outlive it.
  Contest(const RunSettings& settings, Watch& watch);

  /// The network, once. The error is why there is none.
  tl::expected<void, CannotRun> prepare();
  /// Units of time that all heats will take, for the progress; more may be added later.
  void expect(ByteCount size);
  /// Verifies and measures every path. What is wrong is in the row, and in ended().
  Row hold(const Heat& heat);

  /// Why no further heat makes sense: a stop, or a file that changed. "" while all is well.
  const std::string& ended() const { return ended_; }
  void end(std::string why);
  bool stop_asked() { return watch_.stop_asked(); }
  /// Sentences about what happened that no figure shows.
  std::vector<std::string> remarks() const;

 private:
  /// Whose round it is.
  struct Turn {
    std::size_t number = 0;  ///< of turns, from 0; the last one may be instrumented
    std::size_t index = 0;   ///< of the path
  };

  std::vector<Contender> line_up(const Heat& heat) const;
  void verify(const Heat& heat, std::vector<Contender>& contenders);
  void measure(const Heat& heat, Row& row);
  void take_turn(const Heat& heat, const Turn& turn, Contender& contender);
  void drop_pages_of(const SourceFile& source);
  RoundPlan plan_for(const Heat& heat, const egress::Path* path) const;

  const RunSettings& settings_;
  Watch& watch_;
  Network network_;
  std::optional<double> tsc_hz_;
  std::vector<std::string> unavailable_;  ///< of each path, "" where it is available
  std::size_t rounds_started_ = 0;        ///< of this heat
  double done_s_ = 0;
  double total_s_ = 0;
  std::string ended_;
  std::uint64_t still_resident_bytes_ = 0;  ///< most that --cold has left in the page cache
  std::string not_dropped_;                 ///< why --cold could not do it, or not be checked
  std::string not_warm_;                    ///< without --cold: what the rounds read from the disk
};

/// The one that ratios are taken against: copy where it was measured, else the first that was.
std::string baseline_of(const std::vector<Contender>& contenders);

}  // namespace pagewire::bench
