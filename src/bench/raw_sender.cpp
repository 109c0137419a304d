// One connection of `bench send`:
//
//   Send -> Linger (all is sent, and the FIN; waiting for the client's) -> Closed
//   any state -> Draining (over and told; the kernel still reads memory of ours) -> Closed
//   any state -> Closed
//
// Owns its socket (through Stream) and its walk through the file. Invariants: a client never sees
// an orderly end (FIN) behind a part of the file, only a reset; a line is said or complained once
// for each connection; what the client sends (curl sends a request) is read and dropped, because a
// close with unread bytes would send RST, which drops what is queued (RFC 1122 4.2.2.13).
// The time of a connection is from its accept to the acknowledgement of its last byte (SIOCOUTQ,
// TCP_INFO in tcp(7)), neither to the last byte that went into the send buffer nor to the client's
// FIN, which may come seconds later. A FIN within the first look at it (100 ms) cannot be told from
// that acknowledgement.
#include "bench/raw_sender.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "sys/clock.h"
#include "sys/socket.h"
#include "sys/tcp_tuning.h"

namespace pagewire::bench {

namespace {

// A client that acknowledges nothing for so long has gone without a word.
constexpr std::int64_t stall_timeout_ms = 60'000;
// How long the kernel may keep what was sent with MSG_ZEROCOPY once a connection is over.
constexpr std::int64_t release_timeout_ms = 10'000;
// How long a client may keep its half of the connection open once it has everything.
constexpr std::int64_t linger_timeout_ms = 5'000;
// Nothing tells when a client has everything, so we look.
constexpr std::int64_t look_again_ms = 100;
// A client has nothing to say to us; a request of a few hundred bytes is dropped.
constexpr ByteCount most_dropped{1 * mib};

constexpr double ns_per_s = 1e9;
constexpr std::int64_t ns_per_ms = 1'000'000;

class RawConnection final : public loop::Stream {
 public:
  RawConnection(RawSender& sender, sys::Accepted accepted)
      : Stream(std::move(accepted.fd)),
        sender_(sender),
        peer_(accepted.peer),
        pump_(sender.source(), fd(), {.call = woken, .self = this}),
        start_ns_(sys::monotonic_ns()) {}

  void start();
  void cut_off();

 private:
  enum class State : std::uint8_t { Send, Linger, Draining, Closed };

  void received(std::span<const char> bytes) override;
  void ended() override;
  void writable() override;
  void timed_out() override;
  void failed(Error error) override;
  void notified() override;

  static void woken(void* self);
  void send_turn();
  void begin_linger();
  void note_arrival();
  void finish();
  void break_off(const std::string& why);
  void close();
  void bury();
  bool everything_arrived() const { return unacknowledged() == 0; }
  std::uint64_t unacknowledged() const {
    return sys::unacknowledged(fd()).value_or(ByteCount{}).value;
  }
  void set_timeout(std::int64_t ms) { loop().set_deadline(*this, loop().now_ms() + ms); }
  loop::Loop& loop() { return sender_.loop(); }
  std::string said(std::int64_t end_ns) const;

  RawSender& sender_;
  sys::Address peer_;
  FilePump pump_;
  std::int64_t start_ns_;
  std::int64_t last_sent_ns_ = 0;
  std::int64_t arrived_ns_ = 0;  // 0: not seen yet
  std::int64_t lingered_ms_ = 0;
  std::uint64_t unacknowledged_before_ = 0;  // at the last look for a stall
  std::uint64_t sent_before_ = 0;
  std::int64_t stalled_ms_ = 0;
  ByteCount dropped_;
  State state_ = State::Send;
  bool peer_ended_ = false;
};

}  // namespace

void RawSender::accepted(sys::Accepted connection) {
  accept_failures_.over();
  if (count_ != 0 && accepted_ == count_) return;  // closes it: enough have come
  ++accepted_;
  auto owned = std::make_unique<RawConnection>(*this, std::move(connection));
  RawConnection& attached = *owned;
  if (Result<void> done = loop_.attach(std::move(owned)); !done) {
    source_.complain("cannot take a connection: " + describe(done.error()));
    return connection_over();
  }
  attached.start();
}

void RawSender::cut_off() {
  loop_.for_each([](loop::Stream& stream) { static_cast<RawConnection&>(stream).cut_off(); });
}

void RawSender::connection_over() {
  ++over_;
  if (over_ == count_) loop_.stop();
}

namespace {

void RawConnection::start() {
  unacknowledged_before_ = 0;
  set_timeout(stall_timeout_ms);
  send_turn();
}

/// Until the file is sent, the socket is full, or the turn is over.
void RawConnection::send_turn() {
  ByteCount left = turn_quantum;
  if (pump_.file_bytes() == 0) return begin_linger();
  while (left.value > 0) {
    const egress::StepResult result = pump_.step(left);
    if (result.moved.value > 0) last_sent_ns_ = sys::monotonic_ns();
    switch (result.status) {
      case egress::Status::Moved:
        left -= std::min(result.moved, left);
        continue;
      case egress::Status::Done:
        return begin_linger();
      case egress::Status::WantWrite:
        return loop().await_writable(*this);
      case egress::Status::Submitted:
        return;  // until woken()
      case egress::Status::SourceTruncated:
      case egress::Status::SourceChanged:
      case egress::Status::PeerGone:
      case egress::Status::Failed:
      case egress::Status::WantPages:
      case egress::Status::Unsupported:  // egress::step has fallen to `copy` instead
        return break_off(why_ended(result));
    }
  }
  loop().yield(*this);
}

/// What the transfer waited for has come. We may be within another connection's step.
void RawConnection::woken(void* self) {
  RawConnection& connection = *static_cast<RawConnection*>(self);
  connection.loop().yield(connection);
}

void RawConnection::begin_linger() {
  state_ = State::Linger;
  pump_.stop();
  sys::finish_sending(fd());
  set_timeout(look_again_ms);
}

void RawConnection::cut_off() {
  state_ == State::Draining ? bury() : break_off("stopped");
}

void RawConnection::received(std::span<const char> bytes) {
  if (state_ == State::Draining) return;
  dropped_ += ByteCount{bytes.size()};
  if (dropped_ > most_dropped) break_off("the client sends without end");
}

/// The client's FIN. In the middle it is only a half-close (nc does that); behind everything it
/// is the end.
void RawConnection::ended() {
  peer_ended_ = true;
  if (state_ != State::Linger) return;
  if (everything_arrived()) return finish();
}

void RawConnection::writable() {
  if (state_ == State::Send) send_turn();
}

void RawConnection::timed_out() {
  if (state_ == State::Draining) return bury();
  const std::int64_t waited_ms = state_ == State::Send ? stall_timeout_ms : look_again_ms;
  if (state_ == State::Linger && everything_arrived()) {
    note_arrival();
    lingered_ms_ += waited_ms;
    if (peer_ended_ || lingered_ms_ >= linger_timeout_ms) return finish();
    return set_timeout(waited_ms);
  }
  const std::uint64_t waiting = unacknowledged();
  const bool moved = waiting != unacknowledged_before_ || pump_.sent_bytes() != sent_before_;
  unacknowledged_before_ = waiting;
  sent_before_ = pump_.sent_bytes();
  stalled_ms_ = moved ? 0 : stalled_ms_ + waited_ms;
  if (stalled_ms_ >= stall_timeout_ms) {
    return break_off(fmt::format("the client took nothing for {} s", stall_timeout_ms / 1'000));
  }
  set_timeout(waited_ms);
}

/// ECONNRESET, ETIMEDOUT, EHOSTUNREACH. A reset by a client that has everything is an end like any
/// other: it did not wait for our FIN.
void RawConnection::failed(Error error) {
  if (state_ == State::Draining) return notified();
  if (state_ == State::Linger && everything_arrived()) return finish();
  break_off(std::strerror(error.errno_value));
}

/// The last byte was acknowledged by the last ACK that came, or later by none.
void RawConnection::note_arrival() {
  if (arrived_ns_ != 0) return;
  const std::int64_t now_ns = sys::monotonic_ns();
  const std::int64_t since_ms = sys::ms_since_last_ack(fd()).value_or(0);
  constexpr std::int64_t one_tick_ms = 10;  // TCP counts in ticks of 1 to 10 ms
  const std::int64_t acknowledged_ns =
      since_ms <= one_tick_ms ? now_ns : now_ns - since_ms * ns_per_ms;
  arrived_ns_ = std::max(acknowledged_ns, last_sent_ns_);
}

void RawConnection::finish() {
  note_arrival();
  sender_.source().say(said(arrived_ns_));
  close();
}

void RawConnection::break_off(const std::string& why) {
  sender_.source().complain(said(sys::monotonic_ns()) + ", then broken off: " + why);
  pump_.stop();
  pump_.take_completions();
  pump_.busy() ? sys::reset_now(fd()) : sys::abort_on_close(fd());
  close();
}

std::string RawConnection::said(std::int64_t end_ns) const {
  const Amount amount{.bytes = pump_.sent_bytes(),
                      .seconds = static_cast<double>(end_ns - start_ns_) / ns_per_s};
  return fmt::format("{}: {} by {} ({} bytes)", peer_.to_string(), describe(amount),
                     pump_.path_used().name, amount.bytes);
}

/// The client has been told: by our FIN, or by a reset.
void RawConnection::close() {
  pump_.stop();
  state_ = State::Draining;
  loop().pause_reading(*this);
  set_timeout(release_timeout_ms);
  notified();
}

/// Completions of MSG_ZEROCOPY; the last one ends a connection that is over.
void RawConnection::notified() {
  pump_.take_completions();
  if (state_ == State::Draining && !pump_.busy()) bury();
}

void RawConnection::bury() {
  state_ = State::Closed;
  pump_.stop();
  RawSender& sender = sender_;
  loop().retire(*this);
  sender.connection_over();
}

}  // namespace

}  // namespace pagewire::bench
