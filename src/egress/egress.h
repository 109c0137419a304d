// egress: the ways from a list of segments to a socket.
//
// A path is a constant {name, probe, fits, step, cancel; prepare where it leaves something on its
// socket, equip where it needs a lane of its worker} in the ordered array of registry.cpp. A new
// path is one file and one line there; conformance tests, bench and doctor walk that array.
// Everything runs on the worker's thread; a step never blocks on the socket, never throws and
// allocates nothing but a pipe, where the pool has none.
#pragma once

#include <sys/uio.h>

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
#include "egress/choose.h"
#include "egress/selftest.h"
#include "sys/mapping.h"
#include "sys/pipe.h"
#include "tls/tls.h"

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

/// Whether steps look at the page cache before they send, and what that came to.
struct ResidencyGate {
  bool on = false;           ///< off: no look, no WantPages; a step waits for the disk itself
  std::int64_t now_ms = 1;   ///< a coarse clock, set by the owner before it steps
  std::uint64_t looks = 0;   ///< made at the page cache
  ByteCount asked{};         ///< of files, that these looks were at ...
  ByteCount found{};         ///< ... and of them, those that could go without waiting
  std::uint64_t unseen = 0;  ///< steps over pages that were fetched and yet not seen there
};

/// About what a helper is asked to fetch at once. Not more: nothing of it goes out before all of it
/// is there, and on a slow disk that is what a client waits for its first byte.
inline constexpr ByteCount fetch_size{256 * kib};

class MasterPipes;  // tee's cache of small files, private to the room
struct MasterPipesEnd {
  void operator()(MasterPipes* masters) const;
};
/// At most `count` of them, two descriptors each, made when they are first needed.
std::unique_ptr<MasterPipes, MasterPipesEnd> make_master_pipes(std::size_t count = 32);

struct ZeroCopyLimits {
  ByteCount in_flight{64 * mib};     ///< of all connections of a worker; above it sends are copied
  std::uint64_t copied_streak = 32;  ///< sends copied after all, in a row: give up; 0 is never
};

/// What became of a worker's sends with MSG_ZEROCOPY. Every send ends completed or abandoned.
struct ZeroCopyUse {
  ZeroCopyLimits limits;
  ByteCount in_flight{};         ///< sent, not completed yet
  std::uint64_t sends = 0;       ///< made without a copy, as far as we know then
  std::uint64_t completed = 0;   ///< of them, those that the kernel has let go of
  std::uint64_t copied = 0;      ///< of those, the ones that it copied after all
  std::uint64_t abandoned = 0;   ///< their connection went before their completion
  std::uint64_t no_buffer = 0;   ///< ENOBUFS: copied instead
  std::uint64_t over_limit = 0;  ///< too much in flight: copied instead
  std::uint64_t given_up = 0;    ///< connections
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

/// A worker's rings for uring_* (uring_lane.h), each open only once its path has been equipped.
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

/// What a worker lends to all its transfers; a step uses it and leaves nothing in it but counts.
struct Resources {
  sys::PipePool& pipes;
  std::span<char> scratch;          ///< for `copy`; at least 64 KiB
  MasterPipes* masters = nullptr;   ///< for `tee`; Unsupported without them
  UringLanes* lanes = nullptr;      ///< for uring_*, where equip() has opened them
  PathSet usable = PathSet::all();  ///< what a transfer may fall to; `copy` always
  ResidencyGate residency{};
  ZeroCopyUse zero_copy{};
};

struct Path;
class ZeroCopySends;

/// What completions said.
struct Completed {
  const Path* path = nullptr;  ///< whose sends they were
  ByteCount copied;            ///< bytes that the CPU copied after all; not yet in any StepResult
};

/// What outlives a transfer on its socket: sends that the kernel still reads our memory for. Owned
/// by the connection, beside the socket; one pointer as long as no path needs it. Must not outlive
/// the Resources that its transfers had.
class SocketState {
 public:
  SocketState();
  ~SocketState();
  SocketState(const SocketState&) = delete;
  SocketState& operator=(const SocketState&) = delete;

  /// Whether the kernel still reads memory of ours: the connection should keep its socket, and take
  /// completions, until it does not, or for a bounded time.
  bool busy() const;
  /// Call at Stream::notified(), and before asking busy() at the end. No call when not busy.
  Completed take_completions(int socket_fd);

  std::unique_ptr<ZeroCopySends> zero_copy;  ///< zerocopy's own
};

/// What the bytes go through after the step.
struct Transport {
  enum class Kind : std::uint8_t {
    Plain,
    KernelTls,  ///< the kernel makes records of what it is given
    UserTls,    ///< the step makes them, by way of `outlet`
  };
  int socket_fd = -1;
  Kind kind = Kind::Plain;
  tls::Outlet* outlet = nullptr;  ///< UserTls: the connection's
  /// The connection's; nullptr where nobody can wait for what a path leaves behind.
  SocketState* state = nullptr;
};

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

  // What is known about the page cache (residency.h):
  content::SeenPages seen;
  const content::OpenFile* seen_file = nullptr;  ///< whose pages `seen` speaks of
  WantedPages wanted;                            ///< of the last WantPages
  content::SeenPages fetched;                    ///< of wanted.file
  bool just_fetched = false;                     ///< no step was made since

  // What a path holds between two steps:
  sys::Pipe pipe;        ///< splice, vmsplice, tee
  ByteCount in_pipe;     ///< likewise: taken from the file, not yet in the socket
  sys::Mapping mapping;  ///< mmap, vmsplice: the window that is mapped now
  int mapped_fd = -1;    ///< likewise: and the file that it is of
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
  /// What fits() asks for beyond a socket without encryption, for whoever has to say why not.
  const char* fits_only = "";
  /// Sends from a mapping of the file, so that a step meets a page that is not in memory as a
  /// fault.
  bool maps_file = false;
  /// Reads files by read_resident() alone, so that a page which a look takes for present stops no
  /// step.
  bool reads_nowait = false;
  /// Lends the kernel memory that it holds until a completion.
  bool lends_memory = false;
  /// Makes what the path keeps in Transport::state, if anything. May allocate; called by prepare().
  void (*prepare)(Transfer& transfer) = nullptr;
  /// Opens what the path needs of a worker beyond pipes and scratch (a lane); nullptr: nothing. See
  /// equip().
  Result<void> (*equip)(Resources& resources) = nullptr;
};

/// All paths, in the order of preference for falling through; `copy` fits every socket that is not
/// UserTls, and is last.
std::span<const Path* const> paths();
/// Those for sockets without TLS: all but tls_copy.
std::span<const Path* const> socket_paths();
/// nullptr for an unknown name.
const Path* find_path(std::string_view name);
/// The index in paths(), for counters.
std::size_t index_of(const Path& path);

/// Call once a path is chosen and the transfer filled in, before the first step.
void prepare(Transfer& transfer);

/// Makes ready what `path` needs of this worker, on the thread that will step, outside any step.
/// Where it was not called, or failed, the path's steps say Unsupported.
Result<void> equip(const Path& path, Resources& resources);

/// One step of the transfer by its path, over what is in the page cache (residency.h). On
/// Unsupported (nothing of the slice has moved) it falls to the next path in paths() that fits, and
/// steps that; transfer.path tells which it became.
StepResult step(Transfer& transfer, ByteCount quantum);

/// Of the file whose pages the last step wanted, `range` has been read: it is in the page cache
/// now, as far as it can be. Holds at least the first byte that was wanted.
void fetched(Transfer& transfer, ByteRange range);
/// For whoever has no helper threads: reads what the last step wanted, waiting for the disk, and
/// says fetched(). Uses the scratch. Errors: EIO.
Result<void> fetch_in_place(Transfer& transfer);

/// For a loop that makes the send itself: all that has not gone, as pieces of memory in `room`.
/// None when a slice of a file is among it, when it is more than `limit`, or when `room` is too
/// small. UserTls: what they are sealed to, which the outlet keeps.
std::span<const iovec> memory_pieces(Transfer& transfer, ByteCount limit, std::span<iovec> room);
/// What such a send came to, as a step would tell it: one call, which the socket took `taken` of.
StepResult after_send(Transfer& transfer, ByteCount taken);

/// Ends the transfer's hold on pipes and mappings; what the kernel still reads from stays in
/// Transport::state. The caller then forgets the transfer.
void finish(Transfer& transfer);

// ---------------------------------------------------------------- choosing (choose.cpp)

/// What choose() looks at of one response.
struct ChooseInput {
  std::span<const content::Segment> segments;  ///< the head is the first
  Transport transport;
  Route route = Route::Network;
  Residency residency = Residency::Unknown;
  /// Bytes of earlier responses that the kernel holds by reference for this worker (zero-copy sends
  /// whose completion has not come).
  ByteCount backlog{};
};

struct Choice {
  const Path* path = nullptr;
  Reason reason = Reason::InMemory;
  /// The residency was Unknown, and this choice stands only for a body that is not Cold.
  bool unless_cold = false;
};

/// Pure. The rules and their order: choose.cpp.
Choice choose(const ChooseInput& input, const WorkerFacts& facts);

/// The same, and where the choice hangs on the residency it asks the kernel first (one preadv2(2)).
Choice choose_now(const ChooseInput& input, const WorkerFacts& facts);

}  // namespace pagewire::egress
