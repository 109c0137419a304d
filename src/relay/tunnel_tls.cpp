// TLS of a tunnel: the client's handshake, which comes before an upstream is looked for, and what
// the pumps of tls_front.h leave to the tunnel.
#include <cerrno>

#include "relay/tunnel.h"
#include "relay/worker.h"
#include "sys/plain_calls.h"
#include "sys/socket.h"

namespace pagewire::relay {

void Tunnel::shake_hands() {
  const TlsFront::Step step = front_->shake_hands(fd(), worker_.room().buffer);
  if (step == TlsFront::Step::Failed) return refuse_handshake();
  if (!flush_handshake()) return;
  if (step == TlsFront::Step::WantRead) {
    return worker_.loop().emptied(*this, loop::Emptied::ForNow);
  }
  worker_.loop().pause_reading(*this);
  set_state(TunnelState::Seek);
  seek();
}

/// False: the client has gone. A full socket is waited for; meanwhile the handshake goes on.
bool Tunnel::flush_handshake() {
  while (front_->waits()) {
    const Result<ByteCount> sent = front_->push(fd());
    if (sent) continue;
    if (sent.error().errno_value == EAGAIN) {
      worker_.loop().await_writable(*this);
      return true;
    }
    front_->give_up(tls::Outcome::PeerGone);  // EPIPE, ECONNRESET
    close(End::ClientReset);
    return false;
  }
  return true;
}

/// The alert, then FIN. What the client has sent is read, since close(2) would send a reset for it,
/// and the alert might be lost.
void Tunnel::refuse_handshake() {
  front_->say_why(fd());
  const std::span<char> buffer = worker_.room().buffer;
  static_cast<void>(sys::plain_recv(fd(), buffer.data(), buffer.size(), MSG_DONTWAIT));
  close(End::Handshake);
}

/// What opening records has left to say, an answer to a KeyUpdate, say; and what the handshake has.
void Tunnel::flush_front() {
  if (state_ == TunnelState::Open && front_->waits() && !pumps_[down].done()) drive(down);
}

/// Nothing counts behind close_notify. It is read all the same: close(2) with bytes unread resets,
/// and what the client has not taken in would be lost.
void Tunnel::drop_input() {
  if (front_->opened_by_kernel()) return drop_records();
  const std::span<char> buffer = worker_.room().buffer;
  const ssize_t n = sys::plain_recv(fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (n > 0 && static_cast<std::size_t>(n) == buffer.size()) return;  // in the next round
  if (n == 0) return worker_.loop().emptied(*this, loop::Emptied::ForGood);
  if (n < 0 && errno != EAGAIN && errno != EINTR) return close(End::ClientReset);  // ECONNRESET
  worker_.loop().emptied(*this, loop::Emptied::ForNow);
}

void Tunnel::drop_records() {
  switch (front_->drop(fd(), worker_.room().buffer)) {
    case TlsFront::Got::Bytes:
    case TlsFront::Got::Other:
    case TlsFront::Got::Closed:
      return;  // in the next round
    case TlsFront::Got::Nothing:
      return worker_.loop().emptied(*this, loop::Emptied::ForNow);
    case TlsFront::Got::Truncated:
    case TlsFront::Got::Failed:  // no records; from there on the kernel reads nothing
      return worker_.loop().emptied(*this, loop::Emptied::ForGood);
    case TlsFront::Got::SocketFailed:
      return close(End::ClientReset);  // ECONNRESET
  }
}

/// An error of the client's socket that is not its end: the kernel has found what is no record. The
/// next read says so, behind the bytes before it.
void Tunnel::notified() {
  if (state_ != TunnelState::Open || front_ == nullptr || !front_->opened_by_kernel()) return;
  if (pumps_[up].done()) return drop_records();
  drive(up);
}

void Tunnel::tls_failed() {
  front_->say_why(fd());
  close(End::TlsFailed);
}

}  // namespace pagewire::relay
