// tls_copy: preadv2(2) into the worker's scratch buffer, sealed from there into the connection's
// send buffer, and one send(2) for up to eight records.
//
// For TLS whose records are made in user space, which it alone fits. Two copies by the kernel (page
// cache to scratch, send buffer to socket) and the encryption between them, which is no copy more;
// head, part heads and bodies in memory are sealed from where they stand, and a head and a small
// body are one record. Rests on preadv2(2), tls/outlet.h.
//
// Invariant: the cursor stands behind what the socket has taken. What is sealed and not taken yet
// waits in the outlet, and nothing more is sealed before it has gone; so the transfer is finished
// exactly when nothing of it waits. Nothing is sealed for a socket that poll(2) does not call
// writable, so that a reader who stops has next to nothing waiting here. A read that ends early is
// a truncated file, seen before any byte of that call is sent.
#include "base/check.h"
#include "egress/registry.h"
#include "egress/residency.h"
#include "egress/tls_records.h"
#include "sys/socket.h"

namespace pagewire::egress {

namespace {

using content::Segment;
using tls::Outlet;

/// Seals from the cursor on, as far as buffer, quantum, scratch and page cache allow.
class Filler {
 public:
  Filler(Transfer& transfer, ByteCount quantum)
      : transfer_(transfer),
        outlet_(*transfer.transport.outlet),
        index_(transfer.index),
        gone_(transfer.sent_of_segment),
        file_left_(quantum) {
    for (const Segment& segment : transfer.segments.subspan(index_)) left_ += segment.size();
    left_ -= gone_;
  }

  /// Moved when it ended by itself, also when it sealed nothing.
  Attempt run() {
    while (left_.value > 0 && outlet_.fill_left() > 0 && stopped_by_.status == Status::Moved) {
      const std::size_t size = outlet_.next_record(left_);
      if (size == 0 || !seal_record(size)) break;
    }
    // Asked after reading, so that whatever was read is of the version that the head was made from.
    if (file_ != nullptr && !file_->unchanged()) return stopped(Status::SourceChanged);
    return stopped_by_;
  }
  ByteCount read() const { return read_; }
  bool more() const { return left_.value > 0; }

 private:
  bool seal_record(std::size_t size);
  bool refill(std::size_t needed);
  bool read_slice(const Segment& segment, std::size_t needed);

  Transfer& transfer_;
  Outlet& outlet_;
  std::size_t index_;    // the segment that refill() comes to next
  ByteCount gone_;       // of it
  ByteCount file_left_;  // of the quantum
  ByteCount left_;       // of the response
  ByteCount read_;
  std::string_view ready_;  // taken from the segments, not sealed
  std::size_t scratch_used_ = 0;
  const content::OpenFile* file_ = nullptr;
  Attempt stopped_by_ = stopped(Status::Moved);
};

/// False when nothing was there to seal.
bool Filler::seal_record(std::size_t size) {
  std::array<iovec, 16> pieces;
  std::size_t count = 0;
  std::size_t gathered = 0;
  if (ready_.empty()) scratch_used_ = 0;
  while (gathered < size && count < pieces.size()) {
    if (ready_.empty() && !refill(size - gathered)) break;
    const std::string_view piece = ready_.substr(0, size - gathered);
    ready_.remove_prefix(piece.size());
    pieces[count++] = {const_cast<char*>(piece.data()), piece.size()};
    gathered += piece.size();
  }
  const bool broken =
      stopped_by_.status != Status::Moved && stopped_by_.status != Status::WantPages;
  if (gathered == 0 || broken) return false;
  outlet_.seal({pieces.data(), count});
  left_ -= ByteCount{gathered};
  return true;
}

/// The next bytes into ready_.
bool Filler::refill(std::size_t needed) {
  while (index_ < transfer_.segments.size()) {
    const Segment& segment = transfer_.segments[index_];
    if (gone_ < segment.size()) {
      if (segment.kind == Segment::Kind::File) return read_slice(segment, needed);
      ready_ = segment.memory.substr(gone_.value);
      gone_ = segment.size();
      return true;
    }
    gone_ = {};
    ++index_;
  }
  return false;
}

/// What this record needs and, in the same call, some more whole ones of this fill: what is read
/// and not sealed is read again.
bool Filler::read_slice(const Segment& segment, std::size_t needed) {
  constexpr std::size_t ahead = 3 * tls::most_plain_bytes;
  const std::span<char> room = transfer_.resources->scratch.subspan(scratch_used_);
  const ByteRange rest{segment.slice.offset + gone_, segment.slice.count - gone_};
  const ByteCount allowed = std::min(rest.count, file_left_);
  const std::size_t wanted = std::clamp(outlet_.fill_left(), needed, needed + ahead);
  const std::size_t size = std::min({std::size_t{allowed.value}, wanted, room.size()});
  if (size == 0) return false;
  const Attempt read = read_resident(transfer_, *segment.file, rest, room.first(size));
  if (read.status != Status::Moved) {
    stopped_by_ = read;
    return false;
  }
  file_ = segment.file;
  ready_ = {room.data(), read.count.value};
  scratch_used_ += read.count.value;
  gone_ += read.count;
  file_left_ -= read.count;
  read_ += read.count;
  return true;
}

/// Sends what waits in the outlet; `result` gets what came of it. True when the socket took all.
bool send_waiting(Transfer& transfer, bool more, StepResult& result) {
  Outlet& outlet = *transfer.transport.outlet;
  while (!outlet.empty()) {
    const Result<Outlet::Sent> sent = outlet.send(transfer.transport.socket_fd, more);
    if (!sent) {
      errno = sent.error().errno_value;
      const Attempt failed = failed_attempt("send");
      result.status = failed.status;
      result.error = failed.error;
      return false;
    }
    result.copied += sent->bytes;
    if (sent->plain.value == 0) continue;  // no byte of the response in it, or not a whole one
    ++result.calls;
    result.moved += sent->plain;
    transfer.advance(sent->plain);
    return outlet.empty();
  }
  return true;
}

/// What is sealed waits here, however long the reader makes it wait: not for a socket that has no
/// room. A little is not worth the question.
bool may_seal(const Transfer& transfer) {
  constexpr ByteCount little{2 * tls::most_plain_bytes};
  if (transfer.transport.outlet->held().value > 0) return false;
  ByteCount left;
  for (const Segment& segment : transfer.segments.subspan(transfer.index)) left += segment.size();
  return left - transfer.sent_of_segment <= little ||
         sys::is_writable(transfer.transport.socket_fd);
}

StepResult step_tls_copy(Transfer& transfer, ByteCount quantum) {
  StepResult result;
  result.status = Status::WantWrite;  // where the socket takes what TLS itself had to say, no more
  bool more = false;
  if (may_seal(transfer)) {
    Filler filler(transfer, quantum);
    const Attempt filled = filler.run();
    const bool nothing = transfer.transport.outlet->held().value == 0;
    if (filled.status != Status::Moved && (filled.status != Status::WantPages || nothing)) {
      return {.status = filled.status, .moved = {}, .copied = filler.read(), .error = filled.error};
    }
    result.copied = filler.read();
    more = filler.more();
  }
  send_waiting(transfer, more, result);
  if (result.moved.value > 0) {
    // Whatever stopped it, the next step meets again.
    result.error = {};
    result.status = transfer.finished() ? Status::Done : Status::Moved;
  }
  return result;
}

Availability probe() {
  return {};
}

bool fits(std::span<const Segment>, const Transport& transport) {
  return transport.kind == Transport::Kind::UserTls;
}

void prepare_outlet(Transfer& transfer) {
  ByteCount size;
  for (const Segment& segment : transfer.segments) size += segment.size();
  transfer.transport.outlet->begin_response(transfer.resources->residency.now_ms, size);
}

void cancel(Transfer&) {}  // what is sealed stays with the connection, which ends if it is not sent

}  // namespace

std::span<const iovec> sealed_pieces(Transfer& transfer, ByteCount limit, std::span<iovec> room) {
  Outlet& outlet = *transfer.transport.outlet;
  if (room.empty() || outlet.held().value > 0) return {};
  ByteCount size;
  for (const Segment& segment : transfer.segments.subspan(transfer.index)) {
    if (segment.kind != Segment::Kind::Memory) return {};
    size += segment.size();
  }
  if (size > limit) return {};
  Filler filler(transfer, limit);
  static_cast<void>(filler.run());  // there is no file that could stop it
  if (filler.more()) return {};     // a step sends what is sealed, and goes on
  const std::string_view waiting = outlet.waiting();
  room[0] = {const_cast<char*>(waiting.data()), waiting.size()};
  return room.first(1);
}

const Path tls_copy_path{.name = "tls_copy",
                         .probe = probe,
                         .fits = fits,
                         .step = step_tls_copy,
                         .cancel = cancel,
                         .fits_only = "TLS connections whose records are made in user space",
                         .reads_nowait = true,
                         .prepare = prepare_outlet};

}  // namespace pagewire::egress
