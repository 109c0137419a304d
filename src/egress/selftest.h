// What each path can do here: in this kernel (probe) and on ROOT's filesystem (self-test). Included
// by egress.h.
//
// The one place that says "unavailable: reason", for serve, bench, --explain and errors alike.
// Called at start, by one thread, before any worker runs; blocks.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "egress/choose.h"

namespace pagewire::egress {

enum class PathState : std::uint8_t {
  Usable,
  Unavailable,  ///< this kernel lacks what the path needs
  Unsupported,  ///< this filesystem, which said so in the self-test
  Quarantined,  ///< it failed, stalled or sent a wrong byte in the self-test
};
/// "ok", "unavailable", "unsupported", "quarantined".
std::string_view token(PathState state);

struct PathReport {
  const Path* path = nullptr;
  PathState state = PathState::Usable;
  std::string why{};  ///< for all but Usable

  /// "usable", or "unavailable: sendfile(2) is refused (seccomp?)".
  std::string describe() const;
};

struct PathReports {
  std::vector<PathReport> paths;  ///< in the order that was asked for
  std::string filesystem;         ///< "ext4 on /dev/vda"; "" where nobody asked
  std::string skipped;            ///< why there was no self-test; "": there was, or it was cached
  bool cached = false;
  std::int64_t took_us = 0;  ///< the self-test, or reading its cache

  const PathReport* find(const Path& path) const;  ///< nullptr: it is not among them
  PathSet usable() const;
  PathSet quarantined() const;
};

/// What the path's own probe says.
PathReport probe_path(const Path& path);
PathReports probe_paths(std::span<const Path* const> paths);

enum class SelfTestMode : std::uint8_t {
  Auto,    ///< unless the cache has it
  Always,  ///< whatever the cache has
  Off,
};

struct SelfTest {
  std::string root;
  SelfTestMode mode = SelfTestMode::Auto;
  std::span<const Path* const> paths;
  std::string cache_folder{};  ///< made where it is missing; "" is no cache
  // The limits. A stall is counted in idle waits and not in time, so that a thread which did not
  // get the CPU is not taken for one.
  std::int64_t total_limit_ms = 250;  ///< paths that have had no turn by then stay untested
  int idle_waits = 5;                 ///< waits of 10 ms in a row without any byte
};

/// Probes the paths, and sends a file of ROOT's filesystem through each that is available to a TCP
/// connection of this thread with itself, comparing every byte. The process must ignore SIGPIPE.
PathReports self_test(const SelfTest& test);

}  // namespace pagewire::egress
