// One path's part of the self-test: a few lists of segments over one connection; private to the
// room.
#pragma once

#include <string>

#include "egress/egress.h"
#include "egress/selftest_file.h"

namespace pagewire::egress {

inline constexpr int idle_wait_ms = 10;  ///< at most, of one wait for a byte

struct Verdict {
  PathState state = PathState::Usable;
  std::string why;
  bool conclusive = true;  ///< false: it may be tried again at the next start
  bool stalled = false;    ///< Quarantined for want of progress
};

/// Sends and compares. `idle_waits` as in SelfTest.
Verdict examine(const Path& path, const SampleFile& sample, int idle_waits);

}  // namespace pagewire::egress
