// egress: the ways from a list of segments to a socket.
//
// A path is a constant {name, probe, fits, step, cancel} in the ordered array of registry.cpp. A
// new path is one file and one line there; conformance tests, bench and doctor walk that array.
// Everything runs on the worker's thread; a step never blocks on the socket, never throws and never
// allocates.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "content/content.h"
#include "sys/mapping.h"
#include "sys/pipe.h"

namespace pagewire::egress {

enum class Status : std::uint8_t {
  Moved,            ///< `moved` > 0 bytes went to the socket; step again
  WantWrite,        ///< nothing moved, the socket is full (EAGAIN): step again when it is writable
  WantPages,        ///< nothing moved, `pages` are not in the page cache: step again when they are
  Submitted,        ///< nothing moved yet, the kernel has an operation: step again when woken
  Done,             ///< everything went; `moved` may be > 0
  SourceTruncated,  ///< the file ended before its slice did: close, the length cannot be kept
  SourceChanged,    ///< the file is not the one any more that the head was made from: close
  PeerGone,         ///< EPIPE, ECONNRESET ...: close
  Unsupported,      ///< this path cannot do this file; legal only while it has moved nothing
  Failed,           ///< any other errno (EIO, ENOMEM ...): close
};

/// What a step would have to wait for the disk for.
struct WantedPages {
  const content::OpenFile* file = nullptr;
  ByteRange range;  ///< from the first byte that is missing on; count > 0
};

struct StepResult {
  Status status = Status::Failed;
  ByteCount moved;  ///< counted from what the syscalls returned
  /// Bytes that the CPU copied between user and kernel memory for that, likewise: a send of memory
  /// counts once, a read of the file once more. May be > 0 when nothing moved (read, then full).
  ByteCount copied;
  std::uint32_t calls = 0;  ///< syscalls that handed bytes to the socket
  Error error;              ///< for PeerGone and Failed
  WantedPages pages{};      ///< for WantPages
};

enum class LaneKind : std::uint8_t { Send, PolledSend, Splice };
inline constexpr std::size_t lane_kinds = 3;

/// Counted from completions; in flight: now.
struct LaneCounters {
  std::uint64_t notifications = 0;
  std::uint64_t copied_notifications = 0;  ///< of them: the kernel had copied after all
  std::uint64_t splices = 0;
  std::uint64_t without_buffer = 0;  ///< sends that were copied because no buffer was free
  std::uint64_t buffers_in_flight = 0;
  std::uint64_t operations_in_flight = 0;

  LaneCounters& operator+=(const LaneCounters& other);
};

class UringLane;

/// A worker's rings for uring_* (uring_lane.h), each open only once its path has been prepared.
/// Must outlive the transfers. The worker's thread; it may be destroyed on another afterwards.
class UringLanes {
 public:
  UringLanes();
  UringLanes(UringLanes&&) noexcept;
  UringLanes& operator=(UringLanes&&) noexcept;
  ~UringLanes();

  Result<void> open(LaneKind kind);
  UringLane* lane(LaneKind kind) const { return lanes_[static_cast<std::size_t>(kind)].get(); }
  /// To be watched (loop::LaneWatchers): each is readable when reap() has something to do.
  std::vector<int> fds() const;
  /// Takes what has come, and wakes the transfers that waited for it.
  void reap();
  /// The worker ends: waits, within limits, until the kernel has returned everything.
  void settle();
  LaneCounters counters() const;

 private:
  std::array<std::unique_ptr<UringLane>, lane_kinds> lanes_;
};

/// What a worker lends to all its transfers; a step uses it and leaves nothing in it.
struct Resources {
  sys::PipePool& pipes;
  std::span<char> scratch;      ///< for `copy`; at least 64 KiB
  UringLanes* lanes = nullptr;  ///< for uring_*, where prepare() has opened them (uring_lane.h)
};

/// What the bytes go through after the step.
struct Transport {
  enum class Kind : std::uint8_t { Plain };
  int socket_fd = -1;
  Kind kind = Kind::Plain;
};

struct Path;

/// Whom to tell that a step may have something to do again, after Submitted. Called on the worker's
/// thread, maybe out of another transfer's step: it must not step, but see to it that its turn
/// comes (Loop::yield).
struct Waker {
  void (*call)(void* self) = nullptr;
  void* self = nullptr;
};

/// What a transfer by uring_* holds of its lane (uring_lane.h); -1: nothing.
struct LaneHold {
  std::int32_t operation = -1;  ///< submitted, its result not taken yet
  std::int32_t buffer = -1;     ///< holds `buffered` of `buffered_file`
  std::int32_t file_slot = -1;  ///< the socket, in the ring's table of files
  bool handed_over = false;     ///< the operation sends: the last look comes too late for it
  bool waits = false;           ///< the last step said Submitted
  bool judged = false;          ///< `copies` has been settled
  bool copies = false;          ///< the socket's buffers are too small for sends without copying
  ByteRange buffered;
  const content::OpenFile* buffered_file = nullptr;
};

/// One list of segments on its way out. Must not move while it is under way. The segments, and what
/// they point to, must outlive it.
struct Transfer {
  const Path* path = nullptr;
  Transport transport;
  Resources* resources = nullptr;
  std::span<const content::Segment> segments;
  std::size_t index = 0;      ///< the segment that goes next
  ByteCount sent_of_segment;  ///< and how much of it has gone
  ByteCount sent;             ///< of all segments
  bool stepped = false;       ///< a step was made: the head is not fresh any more
  Waker waker;                ///< must be set where a step may say Submitted

  // What a path holds between two steps:
  sys::Pipe pipe;        ///< splice
  ByteCount in_pipe;     ///< splice: taken from the file, not yet in the socket
  sys::Mapping mapping;  ///< mmap: the window that is mapped now
  int mapped_fd = -1;    ///< mmap: and the file that it is of
  LaneHold lane;         ///< uring_*

  bool finished() const { return index == segments.size(); }
  /// Moves the cursor over `count` bytes that the socket took.
  void advance(ByteCount count);
};

struct Availability {
  bool available = true;
  const char* reason = "";  ///< why not, a literal
};

struct Path {
  std::string_view name;
  /// Whether this kernel has what the path needs. Called once at start.
  Availability (*probe)();
  /// Whether the path can do these segments on this transport. Pure.
  bool (*fits)(std::span<const content::Segment> segments, const Transport& transport);
  /// Moves at most `quantum` bytes of files, and the memory between them: a head that counted would
  /// push every later call off the page boundaries. Memory is sent by every path alike, with
  /// MSG_MORE when more follows.
  StepResult (*step)(Transfer& transfer, ByteCount quantum);
  /// Gives back what the path holds between steps. Always called once, finished or not. What the
  /// kernel still works with stays with whoever submitted it (a lane) until it is returned, so that
  /// the transfer, its socket and its file may go at once.
  void (*cancel)(Transfer& transfer);
  /// Opens what the path needs of a worker beyond pipes and scratch; nullptr: nothing. See
  /// prepare().
  Result<void> (*prepare)(Resources& resources) = nullptr;
};

/// All paths, in the order of preference for falling through; `copy` fits everything and is last.
std::span<const Path* const> paths();
/// nullptr for an unknown name.
const Path* find_path(std::string_view name);
/// The index in paths(), for counters.
std::size_t index_of(const Path& path);

/// Makes ready what `path` needs of this worker, on the thread that will step, outside any step.
/// Where it was not called, or failed, the path's steps say Unsupported.
Result<void> prepare(const Path& path, Resources& resources);

/// One step of the transfer by its path. On Unsupported (nothing of the slice has moved) it falls
/// to the next path in paths() that fits, and steps that; transfer.path tells which it became.
StepResult step(Transfer& transfer, ByteCount quantum);

/// Ends the transfer's hold on pipes and mappings. The caller then forgets it.
void finish(Transfer& transfer);

// ---------------------------------------------------------------- choosing (choose.cpp)

/// Why a path was chosen. The token stands in the access log and in the metrics.
enum class Reason : std::uint8_t {
  HeadOnly,   ///< "head-only": no body
  InMemory,   ///< "in-memory": every segment is memory
  SmallBody,  ///< "small-body": at most ChooserSettings::small_body; one send of head and body
  LargeBody,  ///< "large-body": sendfile
  Pinned,     ///< "pinned": --path
  PinUnfit,   ///< "pin-unfit": the pinned path does not fit or is not available
};
inline constexpr std::size_t reason_count = 6;
std::string_view token(Reason reason);

struct ChooserSettings {
  const Path* pinned = nullptr;    ///< --path; nullptr is auto
  bool pinned_available = true;    ///< what pinned->probe() said at start
  ByteCount small_body{16 * kib};  ///< measured break-even of copy and sendfile
};

struct Choice {
  const Path* path = nullptr;
  Reason reason = Reason::InMemory;
};

/// Pure. The head is segments[0].
Choice choose(std::span<const content::Segment> segments, const Transport& transport,
              const ChooserSettings& settings);

}  // namespace pagewire::egress
