// Receiving by the kernel (kernel TLS): handing it the keys, and what it does not do by itself, the
// records that are no application data (RFC 8446 4.6.3, 6; RFC 5246 7.2, 7.4.1).
//
// Kernel facts (tls_sw.c): a record of another type stops splice(2) and waits for recvmsg(2); after
// a KeyUpdate Linux 6.14 opens nothing before it has the next key, and older kernels fail at the
// next record, since they open it with the old one.
#include <openssl/ssl.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "base/check.h"
#include "sys/kernel_tls.h"
#include "tls/session.h"
#include "tls/session_kernel.h"

namespace pagewire::tls {

namespace {

/// Of a record of which OpenSSL has a part, the socket has not the beginning. SSL_has_pending(3)
/// does not tell of a header alone: then it waits for the body ("RB").
bool is_between_records(const SSL* ssl) {
  return ::SSL_has_pending(ssl) == 0 && std::string_view(::SSL_rstate_string(ssl)) == "RH";
}

}  // namespace

void Session::begin_receiving(int fd) {
  PW_CHECK(established_);
  if (receive_reason_ != KernelReason::None) return;
  receive_reason_ = hand_over_receiving(fd);
  client_secret_.wipe();
}

KernelReason Session::hand_over_receiving(int fd) {
  if (input_left() || !is_between_records(ssl_)) return KernelReason::Buffered;
  if (const KernelReason why = attach(fd); why != KernelReason::None) return why;
  const std::optional<WriteKeys> keys = client_write_keys(ssl_, client_secret_);
  if (!keys) return KernelReason::SocketState;  // out of memory
  // The keys of TLS 1.3 begin behind the client's Finished; those of TLS 1.2 have opened it.
  const std::uint64_t sequence = is_tls13() ? 0 : records_opened_;
  if (const Result<void> started = sys::start_tls_receive(fd, kernel_keys(*keys, sequence));
      !started) {
    return kernel_reason_of(started.error().errno_value, *keys);
  }
  if (is_tls13() && facts_.kernel_rekeys) {
    read_keys_ = std::make_unique<WriteKeys>(*keys);
    read_keys_->wipe_record_key();
  }
  return KernelReason::None;
}

Session::Read Session::take_record(int fd, std::uint8_t type,
                                   std::span<const unsigned char> message) {
  if (type == static_cast<std::uint8_t>(RecordType::Alert)) return take_alert(message);
  const bool handshake = type == static_cast<std::uint8_t>(RecordType::Handshake);
  if (handshake && is_tls13()) return take_key_update(fd, message);
  if (handshake && !message.empty() && message[0] == SSL3_MT_CLIENT_HELLO) {
    constexpr std::array<unsigned char, 2> alert = {SSL3_AL_WARNING, SSL_AD_NO_RENEGOTIATION};
    queue_control(RecordType::Alert, alert);
    return fail(Outcome::Renegotiation);
  }
  return refuse(Outcome::Protocol, SSL_AD_UNEXPECTED_MESSAGE);
}

Session::Read Session::take_alert(std::span<const unsigned char> alert) {
  if (alert.size() != 2) return refuse(Outcome::Protocol, SSL_AD_UNEXPECTED_MESSAGE);
  const unsigned char description = alert[1];
  if (description == SSL_AD_CLOSE_NOTIFY) {
    peer_closed_ = true;
    return {Read::Kind::Closed, 0};
  }
  // In TLS 1.3 every other one is fatal, whatever level it names.
  const bool warning =
      is_tls13() ? description == SSL_AD_USER_CANCELLED : alert[0] == SSL3_AL_WARNING;
  return warning ? pass_over() : fail(Outcome::PeerAlert);
}

/// Nobody has reason to warn without end.
Session::Read Session::pass_over() {
  constexpr std::uint8_t most = 5;  // in a row, OpenSSL allows
  if (++passed_over_ > most) return refuse(Outcome::Protocol, SSL_AD_UNEXPECTED_MESSAGE);
  return {Read::Kind::WantInput, 0};
}

/// By itself in its record, as in RFC 8446 5.1 a message before which the keys change has to be.
Session::Read Session::take_key_update(int fd, std::span<const unsigned char> message) {
  const bool is_one = message.size() == key_update_message.size() &&
                      std::equal(message.begin(), message.end() - 1, key_update_message.begin()) &&
                      message.back() <= SSL_KEY_UPDATE_REQUESTED;
  if (!is_one) return refuse(Outcome::Protocol, SSL_AD_UNEXPECTED_MESSAGE);
  if (++key_updates_ > facts_.key_updates) return fail(Outcome::KeyUpdates);
  if (read_keys_ == nullptr) return fail(Outcome::CannotRekey);
  *read_keys_ = updated(*read_keys_);
  const Result<void> given = sys::start_tls_receive(fd, kernel_keys(*read_keys_, 0));
  read_keys_->wipe_record_key();
  if (!given) {
    // EOPNOTSUPP, EBUSY: a card opens this connection's records after all.
    return fail(given.error().errno_value == ENOMEM ? Outcome::Internal : Outcome::CannotRekey);
  }
  return message.back() == SSL_KEY_UPDATE_REQUESTED ? after_read() : Read{Read::Kind::WantInput, 0};
}

void Session::refuse_record(int errno_value) {
  switch (errno_value) {
    case EBADMSG:  // it does not decrypt, or is shorter than any may be
      refuse(Outcome::BadRecord, SSL_AD_BAD_RECORD_MAC);
      return;
    case EMSGSIZE:
      refuse(Outcome::Oversized, SSL_AD_RECORD_OVERFLOW);
      return;
    default:  // EINVAL: another version in its header
      refuse(Outcome::Protocol, SSL_AD_PROTOCOL_VERSION);
      return;
  }
}

Session::Read Session::refuse(Outcome outcome, unsigned char alert) {
  const std::array<unsigned char, 2> message = {SSL3_AL_FATAL, alert};
  queue_control(RecordType::Alert, message);
  return fail(outcome);
}

}  // namespace pagewire::tls
