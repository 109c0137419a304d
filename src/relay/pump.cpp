#include "relay/pump.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "relay/tls_front.h"
#include "sys/plain_calls.h"
#include "sys/socket.h"
#include "sys/splice.h"

namespace pagewire::relay {

namespace {

/// Below this a pipe costs more calls than copying does.
constexpr ByteCount least_pipe{32 * kib};
}  // namespace

bool is_of_splice(int errno_value) {
  return errno_value == EINVAL || errno_value == ENOMEM || errno_value == ENOSYS ||
         errno_value == EPERM || errno_value == EOPNOTSUPP;
}

PumpResult Pump::step(const PumpRules& rules, PumpEnds ends, PumpRoom& room) {
  const ByteCount before = total_;
  const auto result = [&](PumpStatus status) {
    return PumpResult{
        .status = status, .moved = ByteCount{total_.value - before.value}, .error = error_};
  };
  emptied_ = false;
  for (;;) {
    if (holds_bytes() || (ends.seals != nullptr && ends.seals->waits())) {
      switch (push(ends, room)) {
        case Moved::Some:
          continue;
        case Moved::Nothing:
          // Kernel TLS may have left records with TCP that nobody sends: no acknowledgement would
          // come, and no room (docs/KERNEL_NOTES.md). So it might be where the sink is full and
          // holds back a segment for what SPLICE_F_MORE has announced.
          if (corked_ || (ends.seals != nullptr && ends.seals->by_kernel())) {
            sys::push_queued(ends.sink);
          }
          return result(PumpStatus::WantWrite);
        case Moved::Failed:
          return result(failed_as_);
        case Moved::Again:
          return result(PumpStatus::Yield);
      }
    }
    if (source_ended_ || emptied_) break;
    if (total_.value - before.value >= rules.quantum.value) return result(PumpStatus::Yield);
    switch (pull(rules, ends, room)) {
      case Moved::Some:
        continue;
      case Moved::Nothing:
        emptied_ = true;
        continue;
      case Moved::Failed:
        return result(failed_as_);
      case Moved::Again:
        return result(PumpStatus::Yield);
    }
  }
  give_pipe_back(room);
  if (!source_ended_) {
    uncork(ends);
    return result(PumpStatus::WantRead);
  }
  return result(finish(ends));
}

/// FIN, unless close(2) will send it; where the sink speaks TLS, behind close_notify.
PumpStatus Pump::finish(PumpEnds ends) {
  if (done_) return PumpStatus::Done;
  if (ends.seals != nullptr) {
    switch (ends.seals->finish(ends.sink, total_)) {
      case TlsFront::Finish::Done:
        break;
      case TlsFront::Finish::WantWrite:
        return PumpStatus::WantWrite;
      case TlsFront::Finish::WantKernel:
        return PumpStatus::WantKernel;
      case TlsFront::Finish::Failed:
        return PumpStatus::SinkFailed;
    }
  }
  if (!ends.closed_next) sys::finish_sending(ends.sink);
  done_ = true;
  return PumpStatus::Done;
}

// ---------------------------------------------------------------- to the sink

Pump::Moved Pump::push(PumpEnds ends, PumpRoom& room) {
  // Either all that waits is records, or the kernel seals and a KeyUpdate goes before any byte.
  if (ends.seals != nullptr && ends.seals->waits()) return push_records(ends, room);
  if (in_pipe_ > 0) return push_pipe(ends, room);
  const ssize_t n =
      sys::plain_send(ends.sink, held_.get() + held_at_, held_left_, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0) return not_sent(errno, ends);
  took(static_cast<std::size_t>(n), room.counts.copied);
  held_at_ += static_cast<std::uint32_t>(n);
  held_left_ -= static_cast<std::uint32_t>(n);
  if (held_left_ == 0) held_.reset();
  return Moved::Some;
}

Pump::Moved Pump::push_pipe(PumpEnds ends, PumpRoom& room) {
  const ssize_t n = sys::splice_some(pipe_.read_end.get(), ends.sink, in_pipe_, more_);
  if (n > 0) {
    took(static_cast<std::size_t>(n), room.counts.spliced);
    spliced_.value += static_cast<std::uint64_t>(n);
    in_pipe_ -= static_cast<std::uint32_t>(n);
    corked_ = more_ == sys::More::Yes;
    return Moved::Some;
  }
  const int why = n == 0 ? EIO : errno;  // bytes are in the pipe, so 0 cannot be
  if (const Moved moved = not_sent(why, ends); moved != Moved::Failed) return moved;
  if (failed_as_ == PumpStatus::TlsFailed || !is_of_splice(why)) return Moved::Failed;
  splice_failed_ = true;
  switch_to(false, PathReason::SpliceFailed, room);
  return bytes_out_of_pipe(room);
}

/// The sink cannot be spliced to: what is in the pipe goes by memory.
Pump::Moved Pump::bytes_out_of_pipe(PumpRoom& room) {
  held_ = std::make_unique_for_overwrite<char[]>(in_pipe_);
  held_at_ = 0;
  while (in_pipe_ > 0) {
    const ssize_t n = ::read(pipe_.read_end.get(), held_.get() + held_left_, in_pipe_);
    if (n <= 0 && errno == EINTR) continue;
    if (n <= 0) {  // as many bytes as were counted are in it
      failed_as_ = PumpStatus::SinkFailed;
      return no_bytes(EIO);
    }
    held_left_ += static_cast<std::uint32_t>(n);
    in_pipe_ -= static_cast<std::uint32_t>(n);
  }
  give_pipe_back(room);
  return Moved::Some;
}

/// A call that moved nothing.
Pump::Moved Pump::no_bytes(int errno_value) {
  if (errno_value == EAGAIN) return Moved::Nothing;
  if (errno_value == EINTR) return Moved::Again;  // a signal (a debugger's): the next turn
  error_ = errno_value;
  return Moved::Failed;
}

/// The same of the sink, whose fault it may not be where it speaks TLS.
Pump::Moved Pump::not_sent(int errno_value, PumpEnds ends) {
  failed_as_ = PumpStatus::SinkFailed;
  if (ends.seals == nullptr) return no_bytes(errno_value);
  switch (ends.seals->blame(ends.sink, errno_value)) {
    case TlsFront::Blame::Send:
      return no_bytes(errno_value);
    case TlsFront::Blame::PassOver:
      return Moved::Again;
    case TlsFront::Blame::Failed:
      failed_as_ = PumpStatus::TlsFailed;
      return Moved::Failed;
  }
  return Moved::Failed;
}

void Pump::took(std::size_t count, PumpCounts::Way& way) {
  total_.value += count;
  if (sends_ < 2) ++sends_;
  way.bytes.add(count);
  way.calls.add(1);
}

/// What SPLICE_F_MORE held back of the last segment goes out: nothing follows for now. Setting
/// TCP_NODELAY pushes, also where it was set before (tcp(7)).
void Pump::uncork(PumpEnds ends) {
  if (!corked_) return;
  corked_ = false;
  static_cast<void>(sys::set_no_delay(ends.sink));
}

// ---------------------------------------------------------------- from the source

Pump::Moved Pump::pull(const PumpRules& rules, PumpEnds ends, PumpRoom& room) {
  failed_as_ = PumpStatus::SourceFailed;
  if (!begun_) begin(rules, ends, room);
  if (ends.opens != nullptr && !ends.opens->opened_by_kernel()) return pull_records(ends, room);
  if (ends.seals != nullptr) {
    if (ends.seals->key_is_worn(total_)) {
      failed_as_ = PumpStatus::TlsFailed;
      return Moved::Failed;
    }
    if (!ends.seals->by_kernel()) return pull_to_seal(ends, room);
  }
  if (bulk_ && (pipe_.is_open() || take_pipe(rules, room))) {
    return ends.opens != nullptr ? pull_opened_by_splice(rules, ends, room)
                                 : pull_by_splice(rules, ends, room);
  }
  give_pipe_back(room);
  return pull_by_copy(rules, ends, room);
}

void Pump::begin(const PumpRules& rules, PumpEnds ends, PumpRoom& room) {
  begun_ = true;
  if (ends.opens != nullptr && !ends.opens->opened_by_kernel()) {
    return switch_to(false, PathReason::TlsReceive, room);
  }
  if (ends.seals != nullptr && !ends.seals->by_kernel()) {
    return switch_to(false, PathReason::TlsUserSpace, room);
  }
  switch (rules.path) {
    case Path::Auto:
      return switch_to(false, PathReason::Small, room);
    case Path::Splice:
      return switch_to(true, PathReason::Pinned, room);
    case Path::Copy:
      return switch_to(false, rules.copy_reason, room);
  }
}

void Pump::switch_to(bool bulk, PathReason reason, PumpRoom& room) {
  bulk_ = bulk;
  full_reads_ = 0;
  short_splices_ = 0;
  reason_ = reason;
  room.counts.switches[static_cast<std::size_t>(reason)].add(1);
}

/// At most `wanted` bytes into the worker's buffer. Some, and none: the source's FIN.
Pump::Received Pump::receive(std::size_t wanted, PumpEnds ends, PumpRoom& room) {
  const ssize_t n = sys::plain_recv(ends.source, room.buffer.data(), wanted, MSG_DONTWAIT);
  if (n < 0) return {no_bytes(errno), {}};
  if (n == 0 && ends.source_reset) return {no_bytes(ECONNRESET), {}};
  room.counts.copied.calls.add(1);
  const auto count = static_cast<std::size_t>(n);
  emptied_ = count > 0 && count < wanted && !ends.source_reset;
  return {Moved::Some, room.buffer.first(count)};
}

/// What was received goes out of the worker's buffer at once; only what the sink does not take is
/// copied once more, to be held.
Pump::Moved Pump::pull_by_copy(const PumpRules& rules, PumpEnds ends, PumpRoom& room) {
  const bool pinned = rules.path == Path::Copy;
  const std::size_t wanted =
      pinned ? room.buffer.size()
             : std::min<std::size_t>(rules.small_read.value, room.buffer.size());
  const Received received =
      ends.opens != nullptr ? receive_opened(wanted, ends, room) : receive(wanted, ends, room);
  if (received.moved != Moved::Some) return received.moved;
  source_ended_ = received.bytes.empty();
  if (source_ended_) return Moved::Some;
  const bool full = received.bytes.size() == wanted;
  if (!pinned && !splice_failed_ && !bulk_) look_for_bulk(rules, full, room);
  if (ends.mirror != nullptr) ends.mirror->copy(received.bytes);
  return send(received.bytes, ends, room);
}

void Pump::look_for_bulk(const PumpRules& rules, bool full, PumpRoom& room) {
  if (rules.path == Path::Splice) {  // it copies only while no pipe can be had
    if (++full_reads_ > 0) bulk_ = true;
    return;
  }
  if (!full) {
    full_reads_ = std::min<std::int16_t>(full_reads_, 0);
    return;
  }
  if (++full_reads_ >= static_cast<std::int16_t>(rules.full_reads)) {
    switch_to(true, PathReason::Bulk, room);
  }
}

Pump::Moved Pump::send(std::span<const char> bytes, PumpEnds ends, PumpRoom& room) {
  while (!bytes.empty()) {
    const ssize_t n =
        sys::plain_send(ends.sink, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) {
      if (not_sent(errno, ends) == Moved::Failed) return Moved::Failed;
      break;
    }
    took(static_cast<std::size_t>(n), room.counts.copied);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  if (!bytes.empty()) hold(bytes);
  return Moved::Some;
}

Pump::Moved Pump::pull_by_splice(const PumpRules& rules, PumpEnds ends, PumpRoom& room) {
  const ssize_t n =
      sys::splice_some(ends.source, pipe_.write_end.get(), pipe_.capacity.value, sys::More::No);
  // At an urgent mark TCP's splice says EAGAIN, and 0 once a FIN has come, whatever is behind the
  // mark. recv goes past it, and knows.
  if (n == 0 || (n < 0 && errno == EAGAIN)) return pull_by_copy(rules, ends, room);
  if (n < 0) {
    if (!is_of_splice(errno)) return no_bytes(errno);
    splice_failed_ = true;
    give_pipe_back(room);
    switch_to(false, PathReason::SpliceFailed, room);
    return pull_by_copy(rules, ends, room);
  }
  room.counts.spliced.calls.add(1);
  in_pipe_ = static_cast<std::uint32_t>(n);
  // A pipe that is nearly full: the source has more, and segments need not end with this pipe.
  const bool full = static_cast<std::uint64_t>(n) >= pipe_.capacity.value / 4 * 3;
  // To the kernel's TLS it would mean a record that stays open, which uncork() does not end.
  more_ = full && ends.seals == nullptr ? sys::More::Yes : sys::More::No;
  if (ends.mirror != nullptr) ends.mirror->tee(pipe_, ByteCount{in_pipe_});
  look_for_small(rules, ByteCount{static_cast<std::uint64_t>(n)}, room);
  return Moved::Some;
}

void Pump::look_for_small(const PumpRules& rules, ByteCount spliced, PumpRoom& room) {
  if (rules.path == Path::Splice) return;
  if (spliced >= rules.short_splice) {
    short_splices_ = 0;
  } else if (++short_splices_ >= rules.short_splices) {
    switch_to(false, PathReason::Small, room);
  }
}

// ---------------------------------------------------------------- pipes and memory

/// False: there is none to be had now; the bytes are copied, and it is asked for again later.
bool Pump::take_pipe(const PumpRules& rules, PumpRoom& room) {
  const auto without = [&](PathReason reason) {
    switch_to(false, reason, room);
    full_reads_ = -reads_before_retry;
    return false;
  };
  if (room.pipes_in_use >= rules.pipes) return without(PathReason::PipeLimit);
  Result<sys::Pipe> taken = room.pipes.take();
  if (!taken) return without(PathReason::NoDescriptors);
  if (taken->capacity < least_pipe) return without(PathReason::PipeShrunk);
  pipe_ = std::move(*taken);
  ++room.pipes_in_use;
  return true;
}

/// Of an empty one.
void Pump::give_pipe_back(PumpRoom& room) {
  if (!pipe_.is_open()) return;
  PW_CHECK(in_pipe_ == 0);
  room.pipes.give_back_empty(std::move(pipe_));
  --room.pipes_in_use;
}

void Pump::hold(std::span<const char> bytes) {
  PW_CHECK(!holds_bytes());
  held_ = std::make_unique_for_overwrite<char[]>(bytes.size());
  std::memcpy(held_.get(), bytes.data(), bytes.size());
  held_at_ = 0;
  held_left_ = static_cast<std::uint32_t>(bytes.size());
}

void Pump::release(PumpRoom& room) {
  held_.reset();
  held_left_ = 0;
  if (!pipe_.is_open()) return;
  --room.pipes_in_use;
  sys::Pipe pipe = std::move(pipe_);
  if (in_pipe_ == 0) room.pipes.give_back(std::move(pipe));  // else it is closed with its bytes
  in_pipe_ = 0;
}

std::string_view name(Path path) {
  switch (path) {
    case Path::Auto:
      return "auto";
    case Path::Splice:
      return "splice";
    case Path::Copy:
      return "copy";
  }
  return {};
}

std::string_view token(PathReason reason) {
  switch (reason) {
    case PathReason::Small:
      return "small";
    case PathReason::Bulk:
      return "bulk";
    case PathReason::Pinned:
      return "pinned";
    case PathReason::Unsupported:
      return "unsupported";
    case PathReason::NoDescriptors:
      return "no-descriptors";
    case PathReason::PipeLimit:
      return "pipe-limit";
    case PathReason::PipeShrunk:
      return "pipe-shrunk";
    case PathReason::SpliceFailed:
      return "splice-failed";
    case PathReason::TlsReceive:
      return "tls-receive";
    case PathReason::TlsUserSpace:
      return "tls-user-space";
  }
  return {};
}

}  // namespace pagewire::relay
