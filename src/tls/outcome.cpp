// What became of a session: from OpenSSL's errors to a few words that do not change with it.
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <string_view>

#include "sys/kernel_tls.h"
#include "sys/kernel_version.h"
#include "sys/network_card.h"
#include "tls/session.h"

namespace pagewire::tls {

namespace {

Outcome outcome_of(unsigned long error, bool first_record) {
  const int reason = ERR_GET_REASON(error);
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return Outcome::Protocol;
  if (reason > SSL_AD_REASON_OFFSET) return Outcome::PeerAlert;
  switch (reason) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
      return Outcome::PlainHttp;
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
    case SSL_R_DATA_LENGTH_TOO_LONG:
    case SSL_R_EXCESSIVE_MESSAGE_SIZE:
      return Outcome::Oversized;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_INAPPROPRIATE_FALLBACK:
      return Outcome::NothingShared;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
      return Outcome::Certificate;
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
      return Outcome::BadRecord;
    case SSL_R_WRONG_VERSION_NUMBER:
      return first_record ? Outcome::Garbage : Outcome::Protocol;
    default:  // the many others of OpenSSL's
      return Outcome::Protocol;
  }
}

template <class Word, std::size_t N>
Tokens<N> tokens() {
  Tokens<N> all;
  for (std::size_t i = 0; i < N; ++i) all[i] = token(static_cast<Word>(i));
  return all;
}

}  // namespace

/// OpenSSL has its alert in the outlet already, or queued through the message callback.
void Session::note_failure() {
  const unsigned long error = ::ERR_peek_last_error();  // before it: what a provider said
  outcome_ = error == 0 ? Outcome::Protocol : outcome_of(error, records_read_ <= 1);
  ::ERR_clear_error();
}

bool Session::may_still_send() const {
  return outcome_ == Outcome::KeyUpdates || outcome_ == Outcome::CannotRekey ||
         outcome_ == Outcome::Renegotiation;
}

bool Session::resumed() const {
  return ::SSL_session_reused(ssl_) == 1;
}

bool Session::is_tls13() const {
  return ::SSL_version(ssl_) == TLS1_3_VERSION;
}

std::string_view Session::version() const {
  return ::SSL_get_version(ssl_);
}

std::string_view Session::cipher() const {
  const SSL_CIPHER* const cipher = ::SSL_get_current_cipher(ssl_);
  return cipher == nullptr ? std::string_view() : ::SSL_CIPHER_get_name(cipher);
}

namespace {

/// tls_sw_splice_read of 5.6 to 5.19 passes by records that are opened already (rx_list), so that
/// later ones overtake them.
constexpr sys::KernelVersion splices_in_order{6, 1};

}  // namespace

KernelReason why_not_received(std::string_view release, const Result<bool>& card_opens) {
  if (sys::parse_kernel_version(release) < splices_in_order) return KernelReason::OldKernel;
  return card_opens.value_or(true) ? KernelReason::Card : KernelReason::None;
}

SessionFacts probe_session_facts(const KernelWishes& wishes) {
  SessionFacts facts;
  facts.zero_copy_ro = wishes.zero_copy_ro;
  if (!wishes.transmit) return facts;
  const sys::KernelTls kernel = sys::probe_kernel_tls();
  facts.kernel_rekeys = kernel.rekeys;
  facts.no_kernel = kernel.available                       ? KernelReason::None
                    : kernel.reason == "module-not-loaded" ? KernelReason::ModuleNotLoaded
                                                           : KernelReason::NoKernelTls;
  if (!wishes.receive) return facts;
  // A card on which it is switched on later is not seen.
  facts.no_kernel_receive =
      kernel.available
          ? why_not_received(sys::kernel_release(), sys::any_interface_has("tls-hw-rx-offload"))
          : facts.no_kernel;
  return facts;
}

Card CardWatch::look(const SessionFacts& facts, std::int64_t now_ms) {
  constexpr std::int64_t pause_ms = 1'000;
  const bool asks = facts.no_kernel == KernelReason::None && card_ == Card::None;
  if (!asks || now_ms < next_look_ms_) return card_;
  next_look_ms_ = now_ms + pause_ms;
  if (sys::device_tls_connections() > 0) card_ = Card::Encrypts;
  return card_;
}

Tokens<outcome_count> outcome_tokens() {
  return tokens<Outcome, outcome_count>();
}

Tokens<kernel_states> kernel_tokens() {
  return tokens<Kernel, kernel_states>();
}

Tokens<kernel_reasons> kernel_reason_tokens() {
  return tokens<KernelReason, kernel_reasons>();
}

std::string_view token(Outcome outcome) {
  switch (outcome) {
    case Outcome::Ok:
      return "ok";
    case Outcome::PlainHttp:
      return "plain-http";
    case Outcome::Garbage:
      return "garbage";
    case Outcome::Oversized:
      return "oversized";
    case Outcome::NothingShared:
      return "nothing-shared";
    case Outcome::Certificate:
      return "client-certificate";
    case Outcome::PeerAlert:
      return "peer-alert";
    case Outcome::BadRecord:
      return "bad-record";
    case Outcome::Protocol:
      return "protocol";
    case Outcome::Renegotiation:
      return "renegotiation";
    case Outcome::KeyUpdates:
      return "key-updates";
    case Outcome::CannotRekey:
      return "cannot-rekey";
    case Outcome::PeerGone:
      return "peer-gone";
    case Outcome::Timeout:
      return "timeout";
    case Outcome::OverLimit:
      return "over-limit";
    case Outcome::Internal:
      return "internal";
  }
  return "";
}

std::string_view token(Kernel kernel) {
  switch (kernel) {
    case Kernel::None:
      return "none";
    case Kernel::Software:
      return "kernel";
    case Kernel::Nic:
      return "kernel-nic";
  }
  return "";
}

std::string_view describe(KernelReason reason) {
  switch (reason) {
    case KernelReason::None:
      return "";
    case KernelReason::Off:
      return "it is switched off";
    case KernelReason::NoKernelTls:
      return "this kernel has no TLS (CONFIG_TLS)";
    case KernelReason::ModuleNotLoaded:
      return "the module is not loaded (modprobe tls)";
    case KernelReason::Cipher:
      return "this kernel does not have the cipher";
    case KernelReason::Version:
      return "this kernel does not have the version of TLS";
    case KernelReason::SocketState:
      return "the socket was full or half-closed, or memory short, when the handshake ended";
    case KernelReason::RecordSize:
      return "the client takes small records only (max_fragment_length)";
    case KernelReason::Buffered:
      return "OpenSSL had read more than the handshake";
    case KernelReason::Card:
      return "a network card would open the records (tls-hw-rx-offload), or does not tell";
    case KernelReason::OldKernel:
      return "splice(2) mixes records up before Linux 6.1";
  }
  return "";
}

std::string_view token(KernelReason reason) {
  switch (reason) {
    case KernelReason::None:
      return "";
    case KernelReason::Off:
      return "off";
    case KernelReason::NoKernelTls:
      return "no-kernel-tls";
    case KernelReason::ModuleNotLoaded:
      return "module-not-loaded";
    case KernelReason::Cipher:
      return "cipher";
    case KernelReason::Version:
      return "version";
    case KernelReason::SocketState:
      return "socket-state";
    case KernelReason::RecordSize:
      return "record-size";
    case KernelReason::Buffered:
      return "buffered";
    case KernelReason::Card:
      return "card";
    case KernelReason::OldKernel:
      return "old-kernel";
  }
  return "";
}

}  // namespace pagewire::tls
