// The handshake, reading, and taking the writing over. See session.h.
#include "tls/session.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "sys/kernel_tls.h"
#include "sys/socket.h"
#include "sys/tcp_info.h"
#include "tls/key_schedule.h"
#include "tls/session_kernel.h"

namespace pagewire::tls {

namespace {

constexpr unsigned char warning = 1;
constexpr unsigned char close_notify_alert = 0;

int session_index() {
  static const int index = ::SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

Session* session_of(const SSL* ssl) {
  return static_cast<Session*>(::SSL_get_ex_data(ssl, session_index()));
}

}  // namespace

/// What OpenSSL calls.
struct SessionHooks {
  static void message(int written, int version, int content_type, const void* data,
                      std::size_t size, SSL* ssl, void* /*argument*/) {
    Session& session = *session_of(ssl);
    const std::span bytes(static_cast<const unsigned char*>(data), size);
    if (written != 0) return session_wrote(session, version, content_type, bytes);
    if (content_type == SSL3_RT_HEADER) {
      ++session.records_read_;
      const bool keys_change = bytes[0] == SSL3_RT_CHANGE_CIPHER_SPEC;
      session.records_opened_ = keys_change ? 0 : session.records_opened_ + 1;
    }
    const bool key_update = content_type == SSL3_RT_HANDSHAKE && size == 5 &&
                            bytes[0] == SSL3_MT_KEY_UPDATE && session.ours_;
    if (!key_update) return;
    ++session.key_updates_;
    if (bytes[4] == SSL_KEY_UPDATE_REQUESTED) session.answer_wanted_ = true;
  }

  static void session_wrote(Session& session, int version, int content_type,
                            std::span<const unsigned char> bytes) {
    if (content_type == SSL3_RT_HEADER) ++session.records_written_;
    // The next record is the first under the new keys: told after its own record's header.
    const bool keys_change = version == TLS1_3_VERSION
                                 ? content_type == SSL3_RT_HANDSHAKE && bytes[0] == SSL3_MT_FINISHED
                                 : content_type == SSL3_RT_CHANGE_CIPHER_SPEC;
    if (keys_change) session.records_written_ = 0;
    if (content_type != SSL3_RT_ALERT || !session.ours_ || bytes.size() != 2) return;
    if (bytes[1] == SSL_AD_NO_RENEGOTIATION) session.renegotiation_ = true;
    session.queue_control(RecordType::Alert, bytes);
  }

  static int bio_read(BIO* bio, char* into, std::size_t size, std::size_t* count) {
    Session& session = *static_cast<Session*>(::BIO_get_data(bio));
    ::BIO_clear_retry_flags(bio);
    // One SSL_read goes through all KeyUpdates that have come: behind one too many it gets nothing.
    const bool over = session.key_updates_ > session.facts_.key_updates;
    *count = over ? 0 : std::min(size, session.input_.size());
    if (*count == 0) {
      ::BIO_set_retry_read(bio);
      return 0;
    }
    session.touched_ = true;
    std::memcpy(into, session.input_.data(), *count);
    session.input_ = session.input_.subspan(*count);
    return 1;
  }

  static int bio_write(BIO* bio, const char* bytes, std::size_t size, std::size_t* count) {
    Session& session = *static_cast<Session*>(::BIO_get_data(bio));
    ::BIO_clear_retry_flags(bio);
    *count = size;
    if (session.ours_) return 1;  // message() has seen what it is
    *count = session.outlet_.append({bytes, size});
    if (*count > 0) return 1;
    ::BIO_set_retry_write(bio);
    return 0;
  }

  static long bio_control(BIO*, int command, long, void*) {
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP ? 1 : 0;
  }

  static BIO* make_bio(Session& session) {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* const made = ::BIO_meth_new(::BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "span");
      ::BIO_meth_set_read_ex(made, bio_read);
      ::BIO_meth_set_write_ex(made, bio_write);
      ::BIO_meth_set_ctrl(made, bio_control);
      return made;
    }();
    BIO* const bio = ::BIO_new(method);
    if (bio == nullptr) return nullptr;
    ::BIO_set_data(bio, &session);
    ::BIO_set_init(bio, 1);
    return bio;
  }
};

std::unique_ptr<Session> Session::make(SSL_CTX& context, std::shared_ptr<const void> owner,
                                       SendBuffers& buffers, const SessionFacts& facts) {
  std::unique_ptr<Session> session(new Session(std::move(owner), buffers, facts));
  session->ssl_ = ::SSL_new(&context);
  BIO* const bio = SessionHooks::make_bio(*session);
  if (session->ssl_ == nullptr || bio == nullptr) {
    ::BIO_free(bio);
    return nullptr;
  }
  session->schedule_ = &KeySchedule::of(context);
  SSL* const ssl = session->ssl_;
  ::SSL_set_ex_data(ssl, session_index(), session.get());
  ::SSL_set_bio(ssl, bio, bio);
  // Idle connections hold no buffers of OpenSSL's; what it negotiates may not be renegotiated.
  ::SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
  ::SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
  ::SSL_set_msg_callback(ssl, SessionHooks::message);
  ::SSL_set_accept_state(ssl);
  return session;
}

Session::Session(std::shared_ptr<const void> owner, SendBuffers& buffers, const SessionFacts& facts)
    : owner_(std::move(owner)), outlet_(buffers), facts_(facts) {}

Session::~Session() {
  // Without this OpenSSL takes the session for one that must not be resumed.
  if (ssl_ != nullptr && outcome_ == Outcome::Ok) {
    ::SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  }
  ::SSL_free(ssl_);
}

Session::Step Session::handshake() {
  ::ERR_clear_error();
  const int done = ::SSL_do_handshake(ssl_);
  if (schedule_->has_server_secret()) traffic_secret_ = schedule_->take_server_secret();
  if (schedule_->has_client_secret()) client_secret_ = schedule_->take_client_secret();
  if (done == 1) {
    if (take_over()) return Step::Done;
    outcome_ = Outcome::Internal;
    return Step::Failed;
  }
  const int error = ::SSL_get_error(ssl_, done);
  // WANT_WRITE cannot be: a flight that does not fit into an empty send buffer is no flight of
  // ours.
  if (error == SSL_ERROR_WANT_READ) return Step::WantInput;
  note_failure();
  return Step::Failed;
}

/// From here on OpenSSL's writing is thrown away.
bool Session::take_over() {
  const std::optional<WriteKeys> keys = server_write_keys(ssl_, traffic_secret_);
  traffic_secret_.wipe();
  if (!keys || !outlet_.install(*keys, records_written_)) return false;
  // OpenSSL has told the client that it agrees to max_fragment_length; 1 is 512, 4 is 4096 bytes.
  const unsigned limit = ::SSL_SESSION_get_max_fragment_length(::SSL_get_session(ssl_));
  if (limit != TLSEXT_max_fragment_length_DISABLED) {
    outlet_.limit_records(std::size_t{256} << limit);
  }
  ours_ = true;
  established_ = true;
  kernel_reason_ = facts_.no_kernel;
  receive_reason_ = facts_.no_kernel_receive;
  if (receive_reason_ != KernelReason::None) client_secret_.wipe();
  return true;
}

namespace {

/// Acknowledged first: what is acknowledged in between is missed, and never counted twice. Errors:
/// only of a socket that has gone.
Result<std::uint64_t> given_to_tcp(int fd) {
  const Result<sys::TcpInfo> info = sys::tcp_info(fd);
  if (!info) return tl::unexpected(info.error());
  const Result<ByteCount> queued = sys::unacknowledged(fd);
  if (!queued) return tl::unexpected(queued.error());
  return info->acknowledged_bytes + queued->value;
}

}  // namespace

void Session::begin_sending(int fd, Card card) {
  PW_CHECK(established_);
  if (facts_.no_kernel != KernelReason::None) return;
  if (outlet_.records_limited()) {  // the kernel's are of 16 KiB
    kernel_reason_ = KernelReason::RecordSize;
    return;
  }
  // What OpenSSL has sealed goes before the kernel begins to seal whatever is sent.
  const Result<bool> flushed = flush(fd);
  kernel_reason_ = flushed && *flushed ? hand_over(fd, card) : KernelReason::SocketState;
}

KernelReason Session::attach(int fd) {
  if (attached_) return KernelReason::None;
  const Result<void> attached = sys::attach_tls(fd);
  attached_ = attached.has_value();
  if (attached) return KernelReason::None;
  // ENOENT: the module has gone since the probe; ENOTCONN: a FIN has come, or a reset.
  return attached.error().errno_value == ENOENT ? KernelReason::NoKernelTls
                                                : KernelReason::SocketState;
}

KernelReason kernel_reason_of(int errno_value, const WriteKeys& keys) {
  switch (errno_value) {
    case EINVAL:  // of AES-GCM kernels have had both sizes since TLS 1.3; ChaCha20 came later
      return keys.version == Version::Tls13 && keys.aead != Aead::ChaCha20Poly1305
                 ? KernelReason::Version
                 : KernelReason::Cipher;
    case ENOENT:
    case EOPNOTSUPP:
      return KernelReason::Cipher;
    default:  // ENOMEM
      return KernelReason::SocketState;
  }
}

sys::TlsKeys kernel_keys(const WriteKeys& keys, std::uint64_t sequence) {
  return {.tls13 = keys.version == Version::Tls13,
          .cipher = static_cast<sys::TlsCipher>(keys.aead),
          .key = std::span(keys.key).first(key_size(keys.aead)),
          .iv = keys.iv,
          .sequence = sequence};
}

KernelReason Session::hand_over(int fd, Card card) {
  if (const KernelReason why = attach(fd); why != KernelReason::None) return why;
  const Result<std::uint64_t> given = given_to_tcp(fd);
  if (!given) return KernelReason::SocketState;
  wire_at_handover_ = *given;
  // Whatever it says, the socket goes on as a plain one.
  if (const Result<void> started = give_keys_to_kernel(fd); !started) {
    return kernel_reason_of(started.error().errno_value, outlet_.keys());
  }
  kernel_ = card == Card::Encrypts ? Kernel::Nic : Kernel::Software;
  const bool may_update = is_tls13() && facts_.kernel_rekeys && kernel_ == Kernel::Software;
  outlet_.forget_keys(may_update ? Outlet::Forget::RecordKey : Outlet::Forget::All);
  // Refused where the card does not do this connection after all: it is copied then.
  if (kernel_ == Kernel::Nic && facts_.zero_copy_ro) {
    static_cast<void>(sys::allow_tls_zero_copy(fd));
  }
  return KernelReason::None;
}

Result<void> Session::give_keys_to_kernel(int fd) {
  return sys::start_tls_transmit(fd, kernel_keys(outlet_.keys(), outlet_.sequence()));
}

Session::Read Session::read(std::span<char> into) {
  ::ERR_clear_error();
  std::size_t count = 0;
  const int good = ::SSL_read_ex(ssl_, into.data(), into.size(), &count);
  if (answer_wanted_ || key_updates_ > facts_.key_updates || renegotiation_) {
    const Read refused = after_read();
    if (refused.kind == Read::Kind::Failed) return refused;
  }
  if (good == 1) return {Read::Kind::Bytes, count};
  switch (::SSL_get_error(ssl_, good)) {
    case SSL_ERROR_WANT_READ:
      return {Read::Kind::WantInput, 0};
    case SSL_ERROR_ZERO_RETURN:
      peer_closed_ = true;
      return {Read::Kind::Closed, 0};
    default:  // an int of OpenSSL's, not an enumeration of ours
      break;
  }
  note_failure();
  return {Read::Kind::Failed, 0};
}

/// What the peer asked for besides sending bytes: answered, or the connection ends.
Session::Read Session::after_read() {
  if (renegotiation_) return fail(Outcome::Renegotiation);
  if (key_updates_ > facts_.key_updates) return fail(Outcome::KeyUpdates);
  answer_wanted_ = false;
  if (close_notify_sent_) return {Read::Kind::WantInput, 0};  // nothing may follow it
  switch (kernel_) {
    case Kernel::None:
      if (!outlet_.update_keys()) return fail(Outcome::KeyUpdates);
      break;
    case Kernel::Software:
      // A peer that waits for our KeyUpdate must not wait without end.
      if (!facts_.kernel_rekeys) return fail(Outcome::CannotRekey);
      key_update_owed_ = true;
      break;
    case Kernel::Nic:  // a card keeps the key that it has
      return fail(Outcome::CannotRekey);
  }
  return {Read::Kind::WantInput, 0};
}

Session::Read Session::fail(Outcome outcome) {
  outcome_ = outcome;
  return {Read::Kind::Failed, 0};
}

void Session::close_notify() {
  if (!ours_ || close_notify_sent_) return;
  close_notify_sent_ = true;
  key_update_owed_ = false;  // it is for what would follow
  constexpr std::array<unsigned char, 2> alert = {warning, close_notify_alert};
  queue_control(RecordType::Alert, alert);
}

void Session::queue_control(RecordType type, std::span<const unsigned char> message) {
  if (message[0] == SSL3_AL_FATAL) close_notify_sent_ = true;  // nothing may follow it
  if (kernel_ == Kernel::None) {
    static_cast<void>(outlet_.seal_control(type, message));  // no room: said in outlet.h
    return;
  }
  std::copy_n(message.begin(), std::min(message.size(), control_.size()), control_.begin());
  control_waits_ = static_cast<std::uint8_t>(control_.size());
}

Result<bool> Session::flush(int fd) {
  while (!outlet_.empty()) {
    const Result<Outlet::Sent> sent = outlet_.send(fd, false);
    if (sent) continue;
    if (sent.error().errno_value == EAGAIN) return false;
    return tl::unexpected(sent.error());
  }
  if (key_update_owed_) {
    const Result<bool> updated = update_kernel_keys(fd);
    if (!updated || !*updated) return updated;
  }
  if (control_waits_ == 0) return true;
  const Result<void> sent =
      sys::send_tls_record(fd, static_cast<std::uint8_t>(RecordType::Alert), control_);
  if (!sent && sent.error().errno_value == EAGAIN) return false;
  control_waits_ = 0;
  if (!sent) return tl::unexpected(sent.error());
  control_sent_ += control_.size();
  return true;
}

/// The last record under the old key, and the new one at once.
Result<bool> Session::update_kernel_keys(int fd) {
  const Result<void> sent = sys::send_tls_record(
      fd, static_cast<std::uint8_t>(RecordType::Handshake), key_update_message);
  if (!sent && sent.error().errno_value == EAGAIN) return false;
  key_update_owed_ = false;
  if (!sent) return tl::unexpected(sent.error());
  control_sent_ += key_update_message.size();
  const auto cipher = static_cast<sys::TlsCipher>(outlet_.keys().aead);
  const Result<void> given =
      sys::next_tls_sequence(fd, cipher).and_then([&](std::uint64_t next) -> Result<void> {
        records_before_ += next - outlet_.sequence();
        if (!outlet_.install(updated(outlet_.keys()), 0)) return failure("EVP_EncryptInit", ENOMEM);
        return give_keys_to_kernel(fd);
      });
  if (given) {
    outlet_.forget_keys(Outlet::Forget::RecordKey);
    return true;
  }
  outcome_ = Outcome::Internal;
  close_notify_sent_ = true;  // the peer could not read it
  return tl::unexpected(given.error());
}

std::uint64_t kernel_records(ByteCount sent, std::uint64_t responses) {
  return sent.value / most_plain_bytes + 2 * responses;
}

bool Session::key_is_worn(ByteCount sent, std::uint64_t responses) const {
  if (kernel_ == Kernel::None) return !is_tls13() && outlet_.sequence() >= records_per_key;
  return outlet_.sequence() + kernel_records(sent, responses) >= records_per_key;
}

ByteCount Session::kernel_holds(int fd, ByteCount plain) const {
  if (kernel_ == Kernel::None) return {};
  const auto cipher = static_cast<sys::TlsCipher>(outlet_.keys().aead);
  const Result<std::uint64_t> next = sys::next_tls_sequence(fd, cipher);
  if (!next) return sys::unacknowledged(fd).value_or(ByteCount{});  // then all of it has to go
  const std::uint64_t records = records_before_ + *next - outlet_.sequence();
  const std::uint64_t wire = plain.value + control_sent_ + records * outlet_.record_overhead();
  const Result<std::uint64_t> given = given_to_tcp(fd);
  if (!given) return {};
  return ByteCount{wire - std::min(wire, *given - wire_at_handover_)};
}

}  // namespace pagewire::tls
