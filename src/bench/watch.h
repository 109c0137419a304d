// How a bench tells what it does, and how it is told to stop.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pagewire::bench {

/// Implemented by the command line; called on the bench's own thread, between and during rounds.
class Watch {
 public:
  virtual ~Watch() = default;
  /// `done` of `total` seconds of the plan have passed; `what` is going on: "round 2 of 5: copy".
  virtual void progress(double done, double total, std::string_view what) = 0;
  /// A line that must be seen now: a round that failed, a path that is not available.
  virtual void note(const std::string& line) = 0;
  /// True once the user has said stop (Ctrl-C). Asked at least every 50 ms.
  virtual bool stop_asked() = 0;
};

}  // namespace pagewire::bench
