// Pump: one direction of a tunnel, source socket -> memory or pipe -> sink socket.
//
// Pure mechanics over two descriptors: it never waits, and knows neither loop nor tunnel. Small
// messages go by recv and send through the worker's buffer; once reads show bulk, by splice(2)
// through a pooled pipe. Each switch is counted with its reason.
//
// Invariants: bytes leave in the order in which they came, each exactly once. What the sink has not
// taken is in `held_` or in `pipe_`, never in both, and nothing is taken from the source before it
// has gone: so a pipe is only ever filled from empty, and EAGAIN has one meaning. FIN is passed on
// behind the last byte. A pump that waits for its source holds neither pipe nor memory.
//
// Where the client speaks TLS (tls_front.h) the pump up opens records, and the pump down seals
// them, or the kernel does either; the end of a stream is then close_notify with its FIN. That part
// is in pump_tls.cpp.
// Kernel facts: splice(2) from a TCP socket to a pipe stops at an urgent mark and says there what
// it says at the end, 0 or EAGAIN, so recv has the last word on both; a short splice does not mean
// that the socket is empty (the pipe counts pages, not bytes).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/units.h"
#include "metrics/metrics.h"
#include "relay/mirror.h"
#include "sys/pipe.h"
#include "sys/splice.h"

namespace pagewire::relay {

class TlsFront;

enum class Path : std::uint8_t { Auto, Splice, Copy };
std::string_view name(Path path);

/// Why bytes go the way they go: a token of the metrics and the log.
enum class PathReason : std::uint8_t {
  Small,          ///< copy: reads are short
  Bulk,           ///< splice: reads are full
  Pinned,         ///< either: --path says so
  Unsupported,    ///< copy: the probe at start found that splice does not work here
  NoDescriptors,  ///< copy: EMFILE, ENFILE, ENOMEM when a pipe was wanted
  PipeLimit,      ///< copy: the worker has as many pipes in use as it may
  PipeShrunk,     ///< copy: fs.pipe-user-pages-soft leaves new pipes a page or two (pipe(7))
  SpliceFailed,   ///< copy: EINVAL, ENOMEM ... of this connection's splice
  TlsReceive,     ///< copy: the kernel has not taken the client's keys; its records are opened here
  TlsUserSpace,   ///< copy: the kernel has not taken the keys, so records are made here
};
inline constexpr std::size_t path_reasons = 10;
std::string_view token(PathReason reason);

struct PumpRules {
  Path path = Path::Auto;                       ///< Splice never copies, unless a splice fails
  PathReason copy_reason = PathReason::Pinned;  ///< of Path::Copy
  ByteCount small_read{16 * kib};   ///< what a recv asks for; one that is full shows bulk
  unsigned full_reads = 1;          ///< in a row, then splice
  ByteCount short_splice{4 * kib};  ///< splices below this ...
  unsigned short_splices = 8;       ///< ... so many in a row: back to small reads
  /// Of one step, then others have their turn: one pipe in bulk, so that meanwhile more comes in
  /// (8.3 ms of CPU per Gbit with eight times as much a step, 7.8 with this, 8 x 6 MiB).
  ByteCount quantum{64 * kib};
  std::size_t pipes = 4096;  ///< in use at once, of this worker
};

/// Of one worker; read by others.
struct PumpCounts {
  struct Way {
    metrics::Counter bytes;  ///< that sinks took
    metrics::Counter calls;  ///< that moved them, in and out
  };
  Way copied;
  Way spliced;
  std::array<metrics::Counter, path_reasons> switches;  ///< of pumps, by the reason for it
};

/// What the pumps of a worker share.
struct PumpRoom {
  sys::PipePool& pipes;
  std::span<char> buffer;
  PumpCounts& counts;
  std::size_t pipes_in_use = 0;
};

struct PumpEnds {
  int source;
  int sink;
  bool closed_next = false;  ///< the other direction is done: once this one is, close(2) sends FIN
  /// It was told already: read to the end of what is queued, where recv says 0 without a FIN.
  bool source_reset = false;
  const MirrorTap::Way* mirror = nullptr;  ///< told of what the source said; null: nobody is
  TlsFront* opens = nullptr;               ///< the source speaks TLS
  TlsFront* seals = nullptr;               ///< the sink does
};

/// splice(2) itself cannot do it here: EINVAL (the socket has no splice: a protocol on top of TCP),
/// ENOMEM, ENOSYS and EPERM (a seccomp filter), EOPNOTSUPP. All others are the connection's.
bool is_of_splice(int errno_value);

enum class PumpStatus : std::uint8_t {
  WantRead,      ///< the source has nothing more; nothing is held
  WantWrite,     ///< the sink is full, and bytes wait for it
  Yield,         ///< the step's share is used up
  Done,          ///< the source's FIN has been passed on
  SourceFailed,  ///< `error`: ECONNRESET, ETIMEDOUT ...
  SinkFailed,    ///< `error`: EPIPE, ECONNRESET ...
  WantKernel,    ///< the last records are not in TCP's queue yet, and nothing tells when they are
  Truncated,     ///< the source's FIN came without close_notify
  TlsFailed,     ///< the front says why
};

struct PumpResult {
  PumpStatus status;
  ByteCount moved;  ///< that the sink took
  int error = 0;
};

class Pump {
 public:
  PumpResult step(const PumpRules& rules, PumpEnds ends, PumpRoom& room);

  /// Bytes that go to the sink before any from the source. Only while it holds nothing.
  void hold(std::span<const char> bytes);
  /// Gives back what it holds; bytes that were not taken are dropped.
  void release(PumpRoom& room);

  bool done() const { return done_; }
  bool holds_bytes() const { return held_left_ > 0 || in_pipe_ > 0; }
  bool source_ended() const { return source_ended_; }
  ByteCount total() const { return total_; }      ///< that the sink took
  ByteCount spliced() const { return spliced_; }  ///< of them
  unsigned sends() const { return sends_; }       ///< that took some; from 2 on: at least 2
  PathReason reason() const { return reason_; }

 private:
  /// When no pipe could be had, so many full reads are copied before the next try; so they are
  /// when the kernel opens records that are too short to be spliced.
  static constexpr std::int16_t reads_before_retry = 64;

  enum class Moved : std::uint8_t { Some, Nothing, Failed, Again };
  Moved push(PumpEnds ends, PumpRoom& room);
  Moved push_pipe(PumpEnds ends, PumpRoom& room);
  Moved push_records(PumpEnds ends, PumpRoom& room);
  PumpStatus finish(PumpEnds ends);
  Moved bytes_out_of_pipe(PumpRoom& room);
  Moved no_bytes(int errno_value);
  Moved not_sent(int errno_value, PumpEnds ends);
  void took(std::size_t count, PumpCounts::Way& way);
  void uncork(PumpEnds ends);
  Moved pull(const PumpRules& rules, PumpEnds ends, PumpRoom& room);
  struct Received {
    Moved moved;
    std::span<const char> bytes;
  };
  Received receive(std::size_t wanted, PumpEnds ends, PumpRoom& room);
  Received receive_opened(std::size_t wanted, PumpEnds ends, PumpRoom& room);
  Moved pull_records(PumpEnds ends, PumpRoom& room);
  Moved pull_to_seal(PumpEnds ends, PumpRoom& room);
  Moved pull_by_copy(const PumpRules& rules, PumpEnds ends, PumpRoom& room);
  Moved pull_by_splice(const PumpRules& rules, PumpEnds ends, PumpRoom& room);
  Moved pull_opened_by_splice(const PumpRules& rules, PumpEnds ends, PumpRoom& room);
  int fill_pipe_with_records(const PumpRules& rules, PumpEnds ends, PumpRoom& room);
  Moved send(std::span<const char> bytes, PumpEnds ends, PumpRoom& room);
  void begin(const PumpRules& rules, PumpEnds ends, PumpRoom& room);
  void switch_to(bool bulk, PathReason reason, PumpRoom& room);
  void look_for_bulk(const PumpRules& rules, bool full, PumpRoom& room);
  void look_for_small(const PumpRules& rules, ByteCount spliced, PumpRoom& room);
  bool take_pipe(const PumpRules& rules, PumpRoom& room);
  void give_pipe_back(PumpRoom& room);

  sys::Pipe pipe_;
  std::unique_ptr<char[]> held_;
  std::uint32_t held_at_ = 0;
  std::uint32_t held_left_ = 0;
  std::uint32_t in_pipe_ = 0;
  int error_ = 0;
  int spliced_error_ = 0;  ///< what splice said of records that the kernel opens; to be acted on
  ByteCount total_;
  ByteCount spliced_;
  std::int16_t full_reads_ = 0;  ///< in a row; below 0: no splice before so many more
  std::uint8_t short_splices_ = 0;
  std::uint8_t sends_ = 0;
  PathReason reason_ = PathReason::Small;
  sys::More more_ = sys::More::No;  ///< of the bytes in the pipe
  bool corked_ = false;             ///< the sink may hold a segment back for what follows
  bool begun_ = false;
  bool bulk_ = false;
  bool splice_failed_ = false;
  PumpStatus failed_as_ = PumpStatus::SourceFailed;  ///< what went wrong
  bool emptied_ = false;  ///< this step has seen the end of what the source had
  bool source_ended_ = false;
  bool done_ = false;
};

}  // namespace pagewire::relay
