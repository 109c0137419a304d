// Mirror: duplicates what a relay moves to a file or to a recorder, without slowing the relay.
//
// Each worker has a lane: one pipe and one queue of heads, which only it fills and only the
// mirror's thread empties. Bulk reaches the lane's pipe by tee(2) (references to pages, no copy),
// small messages by write(2). What the lane does not take at once is dropped, counted, and marked
// by `gap` in that stream's next head. The thread moves a record's bytes into a pipe of its own and
// from there to the sink.
//
// Invariants: a lane never waits. The bytes in its pipe are those of the committed heads, in their
// order. The thread never holds a lane's pipe locked while it waits for the sink: splice(2) to a
// file or a socket keeps the pipe locked as long as it takes, and a tee(2) would wait for that;
// hence its own pipe between the two.
// Kernel facts: tee(2) begins at the front of the pipe, always, so a pump's pipe is mirrored when
// it has just been filled from empty, and what did not fit is lost to the mirror. write(2) of at
// most PIPE_BUF bytes goes whole or not at all (pipe(7)).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "relay/mirror_head.h"
#include "relay/resolver.h"
#include "sys/pipe.h"

namespace pagewire::relay {

class MirrorLane;

enum class MirrorDirections : std::uint8_t { Up, Down, Both };

/// Any thread reads them; each is a sum since the start.
struct MirrorTotals {
  std::uint64_t mirrored_bytes = 0;   ///< of streams, that the sink took
  std::uint64_t dropped_bytes = 0;    ///< that the lanes had no room for
  std::uint64_t dropped_records = 0;  ///< beginnings and ends of connections, likewise
  std::uint64_t gaps = 0;             ///< runs of dropped bytes that a head has marked
  std::uint64_t sink_failures = 0;    ///< the sink broke off, or could not be opened
  std::uint64_t sinks_opened = 0;     ///< files, or connections to the recorder
};

class Mirror {
 public:
  struct Settings {
    std::string target;  ///< FILE, or HOST:PORT of a recorder (is_recorder)
    MirrorDirections directions = MirrorDirections::Both;
    ByteCount rotate{0};               ///< a new file before one would grow beyond this; 0: never
    ByteCount lane_capacity{1 * mib};  ///< of each worker's pipe, as far as the kernel lets us
    std::size_t lane_heads = 4096;     ///< of each worker's queue
    unsigned retry_ms = 1000;          ///< after the sink has failed
    unsigned flush_limit_ms = 2000;    ///< what is queued at the end is written for so long
    std::size_t workers = 1;
    LookUp look_up = &relay::look_up;  ///< of a recorder's name, on the thread
  };

  /// Opens the first file and starts the thread. A recorder is connected to by the thread, and
  /// again whenever it went away. Errors: as open(2) of the file, EMFILE for the pipes.
  static Result<std::unique_ptr<Mirror>> open(const Settings& settings);
  /// Writes what is queued (at most flush_limit_ms long), then stops. After the workers. A thread
  /// that is held up for longer (a look-up, a disk that hangs) is left to itself.
  ~Mirror();

  MirrorLane& lane(std::size_t worker);

  /// A new file (SIGHUP). Nothing for a recorder. Any thread.
  void reopen();
  MirrorTotals totals() const;
  /// The file that was opened at start, or the recorder.
  const std::string& first_name() const { return first_name_; }

  struct Parts;  // private to mirror.cpp
 private:
  Mirror(std::shared_ptr<Parts> parts, std::string first_name);
  std::shared_ptr<Parts> parts_;  ///< and the thread's
  std::string first_name_;
};

/// Whether a target names a recorder: "HOST:PORT" or "[v6]:PORT", no slash. "./a:1" is a file.
bool is_recorder(std::string_view target);

/// Both streams of one tunnel, as its mirror sees them. Plain data, beside the tunnel.
struct MirrorTap {
  struct Way;
  struct Stream {
    std::uint64_t offset = 0;  ///< bytes so far, dropped ones too
    bool gap = false;          ///< some were dropped since the last head
    bool ended = false;
  };
  std::uint64_t connection = 0;
  std::array<Stream, 2> streams;  ///< by Direction
};

enum class StreamEnd : std::uint8_t { Fin, Reset };

/// A worker's way into the mirror. Only from that worker's thread; nothing here waits or throws.
/// Directions that are not mirrored cost a comparison.
class MirrorLane {
 public:
  struct Shared;  // with the mirror's thread; private to the mirror's files
  explicit MirrorLane(Shared& shared) : shared_(shared) {}

  /// A tunnel begins. `text` says of whom ({"client":"1.2.3.4:5","upstream":...}), at most 1 KiB.
  void open(MirrorTap& tap, std::string_view text);

  /// The pipe was empty and has just been filled with `count` bytes of this direction, none of
  /// which has left it.
  void tee(MirrorTap& tap, Direction direction, const sys::Pipe& pipe, ByteCount count);

  /// Bytes of this direction that were received into memory.
  void copy(MirrorTap& tap, Direction direction, std::span<const char> bytes);

  /// The source of this direction said FIN, or the tunnel broke off. The first one holds.
  void end(MirrorTap& tap, Direction direction, StreamEnd how);

 private:
  Shared& shared_;
};

/// One direction of a tunnel, for its pump.
struct MirrorTap::Way {
  MirrorLane& lane;
  MirrorTap& tap;
  Direction direction;

  void tee(const sys::Pipe& pipe, ByteCount count) const { lane.tee(tap, direction, pipe, count); }
  void copy(std::span<const char> bytes) const { lane.copy(tap, direction, bytes); }
};

/// Lines of the metrics, of all mirrors; each by the name of its route.
struct NamedMirror {
  std::string_view name;
  const Mirror& mirror;
};
std::string mirrors_text(std::span<const NamedMirror> mirrors);

}  // namespace pagewire::relay
