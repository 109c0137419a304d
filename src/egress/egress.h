// egress: the ways from a list of segments to a socket.
//
// A path is a constant {name, probe, fits, step, cancel} in the ordered array of registry.cpp. A
// new path is one file and one line there; conformance tests, bench and doctor walk that array.
// Everything runs on the worker's thread; a step never blocks on the socket, never throws and never
// allocates.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

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
  Submitted,        ///< nothing moved yet, the kernel has an operation: step again when told to
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

/// What a worker lends to all its transfers; a step uses it and leaves nothing in it.
struct Resources {
  sys::PipePool& pipes;
  std::span<char> scratch;  ///< for `copy`; at least 64 KiB
};

/// What the bytes go through after the step.
struct Transport {
  enum class Kind : std::uint8_t { Plain };
  int socket_fd = -1;
  Kind kind = Kind::Plain;
};

struct Path;

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

  // What a path holds between two steps:
  sys::Pipe pipe;        ///< splice
  ByteCount in_pipe;     ///< splice: taken from the file, not yet in the socket
  sys::Mapping mapping;  ///< mmap: the window that is mapped now
  int mapped_fd = -1;    ///< mmap: and the file that it is of

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
  /// Gives back what the path holds between steps. Always called once, finished or not.
  void (*cancel)(Transfer& transfer);
};

/// All paths, in the order of preference for falling through; `copy` fits everything and is last.
std::span<const Path* const> paths();
/// nullptr for an unknown name.
const Path* find_path(std::string_view name);
/// The index in paths(), for counters.
std::size_t index_of(const Path& path);

/// One step of the transfer by its path. On Unsupported (nothing of the slice has moved) it falls
/// to the next path in paths() that fits, and steps that; transfer.path tells which it became.
StepResult step(Transfer& transfer, ByteCount quantum);

/// For a loop that makes the send itself: all that has not gone, as pieces of memory in `room`.
/// None when a slice of a file is among it, when it is more than `limit`, or when `room` is too
/// small.
std::span<const iovec> memory_pieces(Transfer& transfer, ByteCount limit, std::span<iovec> room);
/// What such a send came to, as a step would tell it: one call, which the socket took `taken` of.
StepResult after_send(Transfer& transfer, ByteCount taken);

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
