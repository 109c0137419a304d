// A connection of https: its handshake, decrypting what comes, and its end with close_notify.
//
// The rest of the connection does not know: plain bytes go the way of those of http (take()), and
// responses to an egress path that fits the transport. Reading is paused while a response is under
// way, as on plain sockets, so an alert that comes meanwhile is read when it is over; RST and FIN
// are noticed as on plain sockets, and a peer that has gone away with its alert answers what we
// send with RST.
#include "base/check.h"
#include "server/connection.h"

namespace pagewire::server {

using tls::Outcome;
using Step = tls::Session::Step;
using Read = tls::Session::Read;

namespace {

/// No TLS record and no hello of SSL 2 begins with a capital letter; every HTTP method does.
bool begins_like_http(std::span<const char> bytes) {
  return bytes.front() >= 'A' && bytes.front() <= 'Z';
}

}  // namespace

egress::Transport Connection::transport() {
  using Kind = egress::Transport::Kind;
  egress::Transport transport{.socket_fd = fd(), .state = &socket_state_};
  if (tls_ == nullptr) return transport;
  const bool by_kernel = tls_->kernel() != tls::Kernel::None;
  transport.kind = by_kernel ? Kind::KernelTls : Kind::UserTls;
  transport.outlet = by_kernel ? nullptr : &tls_->outlet();
  return transport;
}

void Connection::take_records(std::span<const char> bytes) {
  if (tls_->outcome() != Outcome::Ok || tls_->peer_closed()) {  // nothing can be decrypted any more
    if (state_ == State::Linger) linger_over({bytes.data(), bytes.size()});
    return;
  }
  if (state_ == State::Handshake && tls_->is_untouched() && begins_like_http(bytes)) {
    return refuse_plain_http();
  }
  tls_->offer(bytes);
  if (state_ == State::Handshake && !shake_hands()) return;
  const std::span<char> plain = worker_.plain_bytes();
  while (tls_->input_left() && !is_over()) {
    const Read read = tls_->read(plain);
    switch (read.kind) {
      case Read::Kind::Bytes:
        take({plain.data(), read.count});
        break;
      case Read::Kind::WantInput:
        break;
      case Read::Kind::Closed:
        worker_.metrics().tls.clean_closes.add(1);
        return;
      case Read::Kind::Failed:
        return tls_failed();
    }
  }
}

/// False: it is not over yet, or has failed.
bool Connection::shake_hands() {
  switch (tls_->handshake()) {
    case Step::WantInput:
      return false;
    case Step::Failed:
      count_handshake(tls_->outcome());
      begin_linger();
      return false;
    case Step::Done:
      established();
      return true;
  }
  return false;
}

void Connection::established() {
  count_handshake(Outcome::Ok);
  tls_->begin_sending(fd(), worker_.card());
  worker_.tell_tls(*tls_);
  set_state(State::ReadHead);
  start();
  if (draining_) drain();
  if (busy_) refuse_busy();
}

/// Somebody took https for http: told in plain text, which is what is understood.
void Connection::refuse_plain_http() {
  count_handshake(Outcome::PlainHttp);
  tls_.reset();
  refuse(http::Request{}, 400, "this port speaks https, and the request came as plain http");
}

/// After the handshake. OpenSSL's alert, if any, waits to be flushed.
void Connection::tls_failed() {
  const auto why = static_cast<std::size_t>(tls_->outcome());
  worker_.metrics().tls.failures[why].add(1);
  if (state_ == State::Respond && tls_->may_still_send()) {
    close_after_ = true;  // the request was whole, and so is the answer; then close_notify
    return;
  }
  if (exchange_ != nullptr) return break_off(metrics::ConnectionEnd::TlsError);
  if (state_ != State::Linger) begin_linger();
}

void Connection::count_handshake(Outcome outcome) {
  metrics::TlsMetrics& metrics = worker_.metrics().tls;
  metrics.handshakes[static_cast<std::size_t>(outcome)].add(1);
  if (outcome != Outcome::Ok) return;
  const std::size_t version = tls_->is_tls13() ? 1 : 0;
  metrics.completed[version][tls_->resumed() ? 1 : 0].add(1);
}

/// The peer's FIN. Without close_notify before it somebody may have cut short what it sent.
void Connection::count_tls_end() {
  if (tls_ == nullptr || state_ == State::Linger) return;
  if (state_ == State::Handshake) return count_handshake(Outcome::PeerGone);
  if (!tls_->peer_closed()) worker_.metrics().tls.truncations.add(1);
}

/// What TLS itself has to say: outside a response, but for a KeyUpdate. True: nothing waits.
bool Connection::flush_tls() {
  if (send_submitted_) return false;  // the loop sends from the same buffer
  // A response's bytes are counted by its transfer: sent here, they would go once more.
  PW_CHECK(tls_->outlet().held().value == 0);
  const Result<bool> flushed = tls_->flush(fd());
  if (flushed) {
    if (!*flushed) worker_.loop().await_writable(*this);
    return *flushed;
  }
  // Else EPIPE, ECONNRESET: the loop tells of it, too.
  if (tls_->outcome() == Outcome::Internal) {
    worker_.metrics().tls.failures[static_cast<std::size_t>(Outcome::Internal)].add(1);
    break_off(metrics::ConnectionEnd::TlsError);
  }
  return false;
}

/// close_notify, before the socket is closed. False: it has to wait for room.
bool Connection::say_goodbye() {
  const bool has_ears = state_ == State::ReadHead || state_ == State::DropBody;
  if (tls_ == nullptr || peer_gone_ || !has_ears) return true;
  tls_->close_notify();
  const Result<bool> flushed = tls_->flush(fd());
  if (!flushed) return true;
  return *flushed && tls_->kernel_holds(fd(), ByteCount{sent_bytes_}).value == 0;
}

/// Linger: the FIN, behind everything that TLS has to say.
void Connection::send_fin() {
  const Result<bool> flushed = tls_->flush(fd());
  if (flushed && !*flushed) return worker_.loop().await_writable(*this);
  if (flushed && wait_for_kernel()) return;
  fin_owed_ = false;
  if (linger_left_.value == 0) return close();  // the peer's FIN has come
  sys::finish_sending(fd());
  set_timeout(worker_.settings().timeouts.linger_ms);
}

/// Under kernel TLS a FIN must not come before the last record is in TCP's queue. Nothing tells
/// when it is; a peer that reads too slowly for the minimum rate is not waited for.
bool Connection::wait_for_kernel() {
  const ByteCount held = tls_->kernel_holds(fd(), ByteCount{sent_bytes_});
  if (held.value == 0) return false;
  const Settings& settings = worker_.settings();
  const std::int64_t now_ms = worker_.loop().now_ms();
  if (fin_until_ms_ == 0) {
    const std::uint64_t rate = std::max<std::uint64_t>(settings.limits.min_rate, 1);
    fin_until_ms_ = now_ms + settings.timeouts.rate_window_ms +
                    static_cast<std::int64_t>(held.value * 1'000 / rate);
  }
  if (now_ms >= fin_until_ms_) {
    break_off(metrics::ConnectionEnd::SlowReader);
    return true;
  }
  constexpr std::int64_t look_again_ms = 50;
  set_timeout(look_again_ms);
  return true;
}

bool Connection::key_is_worn() const {
  return tls_ != nullptr && tls_->key_is_worn(ByteCount{sent_bytes_}, requests_);
}

/// It has said close_notify, and has its answers.
bool Connection::peer_is_done() const {
  return tls_ != nullptr && tls_->peer_closed() && state_ == State::ReadHead && !turn_given_up_;
}

}  // namespace pagewire::server
