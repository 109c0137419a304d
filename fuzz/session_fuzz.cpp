// What a connection and its peer do after the handshake, in any order. The peer is OpenSSL's
// client: it writes, changes keys, renegotiates, shuts down, and its bytes come in parts and
// damaged; the connection reads, seals responses, and its socket takes as much as it likes.
//
// Beyond not crashing: each side reads exactly what the other one wrote, in order; damage never
// passes; what is held is what was sealed and not taken; a session that did not fail ends with a
// close_notify behind all of it.
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/check.h"
#include "tls/tls.h"
#include "tls_server.h"

namespace {

using namespace pagewire;
using namespace pagewire::tls;
using Kind = Session::Read::Kind;

constexpr const char* ciphers12[] = {"ECDHE-ECDSA-AES128-GCM-SHA256",
                                     "ECDHE-ECDSA-CHACHA20-POLY1305"};
constexpr const char* ciphers13[] = {"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"};
constexpr std::size_t most_operations = 300;

/// Of everything that one side ever writes, `size` bytes from byte `at` on: they come again after a
/// prime number of bytes, which is no multiple of a record.
std::string_view bytes_from(std::size_t at, std::size_t size) {
  constexpr std::size_t period = 65'521;
  static const std::string bytes = [] {
    std::string made(2 * period, '\0');
    for (std::size_t i = 0; i < made.size(); ++i) {
      made[i] = static_cast<char>(i % period * 31 + i % period / 256);
    }
    return made;
  }();
  PW_CHECK(size <= period);
  return std::string_view(bytes).substr(at % period, size);
}

void check_bytes(std::size_t at, std::string_view bytes) {
  PW_CHECK(bytes == bytes_from(at, bytes.size()));
}

class Play {
 public:
  /// The bits of `wish`: version, cipher, small records.
  explicit Play(unsigned wish) {
    static const std::shared_ptr<SSL_CTX> client_context(::SSL_CTX_new(::TLS_client_method()),
                                                         ::SSL_CTX_free);
    session_ = Session::make(*server_context(), server_context(), buffers_, facts);
    client_ = ::SSL_new(client_context.get());
    const bool tls13 = (wish & 1U) != 0;
    const std::size_t cipher = wish >> 1U & 1U;
    ::SSL_set_min_proto_version(client_, tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    ::SSL_set_max_proto_version(client_, tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    tls13 ? ::SSL_set_ciphersuites(client_, ciphers13[cipher])
          : ::SSL_set_cipher_list(client_, ciphers12[cipher]);
    if ((wish & 4U) != 0) {
      ::SSL_set_tlsext_max_fragment_length(client_, TLSEXT_max_fragment_length_1024);
    }
    to_client_ = ::BIO_new(::BIO_s_mem());
    from_client_ = ::BIO_new(::BIO_s_mem());
    ::SSL_set_bio(client_, to_client_, from_client_);
    ::SSL_set_connect_state(client_);
    shake();
  }
  ~Play() {
    session_.reset();  // before the buffers that it gives back to
    ::SSL_free(client_);
  }

  static std::shared_ptr<SSL_CTX> server_context() {
    static const std::shared_ptr<SSL_CTX> context = fuzz::make_server_context();
    return context;
  }
  void operate(unsigned operation, std::size_t argument);
  void end();

 private:
  static constexpr SessionFacts facts{.no_kernel = KernelReason::Off, .key_updates = 4};

  void shake();
  void client_writes(std::size_t size);
  void client_asks(std::size_t what);
  void client_reads();
  void damage(std::size_t where);
  void deliver(std::size_t size);
  void respond(std::size_t size);
  void seal();
  void take(std::size_t size);
  void collect();
  bool may_seal() const { return session_->outcome() == Outcome::Ok || session_->may_still_send(); }

  SendBuffers buffers_;
  std::unique_ptr<Session> session_;
  SSL* client_ = nullptr;
  BIO* to_client_ = nullptr;
  BIO* from_client_ = nullptr;

  std::string on_its_way_;  // to the server
  bool damaged_ = false;
  bool client_failed_ = false;
  std::size_t client_wrote_ = 0;
  std::size_t server_read_ = 0;
  std::size_t left_ = 0;  // of the response
  std::size_t sealed_ = 0;
  std::size_t taken_ = 0;  // plain bytes
  std::size_t client_read_ = 0;
  std::int64_t now_ms_ = 1;
};

void Play::shake() {
  Session::Step step = Session::Step::WantInput;
  for (int flight = 0; flight < 4 && step == Session::Step::WantInput; ++flight) {
    ::SSL_do_handshake(client_);
    collect();
    session_->offer(on_its_way_);
    step = session_->handshake();
    PW_CHECK(!session_->input_left());
    on_its_way_.clear();
    take(SendBuffer::size);
  }
  PW_CHECK(step == Session::Step::Done && session_->established());
  client_reads();
  PW_CHECK(::SSL_is_init_finished(client_) == 1);
}

/// Whoever may not do it any more leaves it out.
void Play::operate(unsigned operation, std::size_t argument) {
  switch (operation) {
    case 0:
      return client_writes(std::size_t{1} << argument % 16);
    case 1:
      return client_asks(argument % 4);
    case 2:
      return deliver(on_its_way_.size());
    case 3:
      return deliver(argument * 7 + 1);
    case 4:
      return damage(argument);
    case 5:
      now_ms_ += static_cast<std::int64_t>(argument) * 100;
      return respond(std::size_t{1} << argument % 19);
    case 6:
      return seal();
    default:  // of three bits
      return take(argument == 31 ? SendBuffer::size : std::size_t{1} << argument % 18);
  }
}

/// Into on_its_way_: what the client has written, as records.
void Play::collect() {
  const std::size_t before = on_its_way_.size();
  on_its_way_.resize(before + ::BIO_ctrl_pending(from_client_));
  const auto size = static_cast<int>(on_its_way_.size() - before);
  if (size > 0) PW_CHECK(::BIO_read(from_client_, on_its_way_.data() + before, size) == size);
}

void Play::client_writes(std::size_t size) {
  if (client_failed_ || (::SSL_get_shutdown(client_) & SSL_SENT_SHUTDOWN) != 0) return;
  const std::string_view bytes = bytes_from(client_wrote_, size);
  std::size_t written = 0;
  if (::SSL_write_ex(client_, bytes.data(), bytes.size(), &written) == 1) client_wrote_ += written;
  collect();
}

/// What one version alone has is refused by OpenSSL in the other.
void Play::client_asks(std::size_t what) {
  if (client_failed_) return;
  if (what == 0) ::SSL_key_update(client_, SSL_KEY_UPDATE_NOT_REQUESTED);
  if (what == 1) ::SSL_key_update(client_, SSL_KEY_UPDATE_REQUESTED);
  if (what == 2) ::SSL_renegotiate(client_);
  what == 3 ? ::SSL_shutdown(client_) : ::SSL_do_handshake(client_);
  collect();
}

void Play::client_reads() {
  std::array<char, 4096> bytes;
  std::size_t count = 0;
  ::ERR_clear_error();
  while (!client_failed_) {
    const int good = ::SSL_read_ex(client_, bytes.data(), bytes.size(), &count);
    if (good != 1) {
      const int error = ::SSL_get_error(client_, good);
      client_failed_ = error != SSL_ERROR_WANT_READ && error != SSL_ERROR_ZERO_RETURN;
      PW_CHECK(!client_failed_ || session_->outcome() != Outcome::Ok);  // of an alert
      break;
    }
    check_bytes(client_read_, {bytes.data(), count});
    client_read_ += count;
    PW_CHECK(client_read_ <= sealed_);
  }
  ::ERR_clear_error();
  collect();
}

void Play::damage(std::size_t where) {
  if (on_its_way_.empty()) {
    on_its_way_ = bytes_from(where, where + 1);
  } else {
    char& byte = on_its_way_[where * 37 % on_its_way_.size()];
    byte = static_cast<char>(byte ^ (1 << where % 8));
  }
  damaged_ = true;
}

void Play::deliver(std::size_t size) {
  // In memory of its own, so that reading over its end is seen.
  const std::string part = on_its_way_.substr(0, size);
  on_its_way_.erase(0, part.size());
  session_->offer(part);
  std::array<char, most_plain_bytes> plain;
  while (session_->input_left() && session_->outcome() == Outcome::Ok && !session_->peer_closed()) {
    const Session::Read read = session_->read(plain);
    PW_CHECK((read.kind == Kind::Failed) == (session_->outcome() != Outcome::Ok));
    PW_CHECK((read.kind == Kind::Closed) == session_->peer_closed());
    if (read.kind != Kind::Bytes) continue;
    check_bytes(server_read_, {plain.data(), read.count});
    server_read_ += read.count;
    PW_CHECK(server_read_ <= client_wrote_);
  }
  session_->offer({});
  const bool refused = session_->outcome() != Outcome::Ok && !session_->may_still_send();
  PW_CHECK(!refused || damaged_);
  PW_CHECK(session_->key_updates() <= facts.key_updates + 1);
}

void Play::respond(std::size_t size) {
  if (left_ > 0 || !may_seal()) return;
  left_ = size;
  session_->outlet().begin_response(now_ms_, ByteCount{size});
  seal();
}

/// As tls_copy: only when all that was sealed before has gone.
void Play::seal() {
  Outlet& outlet = session_->outlet();
  if (outlet.held().value > 0 || !may_seal()) return;
  while (left_ > 0) {
    const std::size_t size = outlet.next_record(ByteCount{left_});
    PW_CHECK(size <= left_);
    if (size == 0) break;
    std::string bytes(bytes_from(sealed_, size));  // whose end ASan sees
    const std::array<iovec, 2> pieces = {iovec{bytes.data(), size / 3},
                                         iovec{bytes.data() + size / 3, bytes.size() - size / 3}};
    outlet.seal(pieces);
    sealed_ += size;
    left_ -= size;
  }
  PW_CHECK(outlet.held().value == sealed_ - taken_);
  PW_CHECK(!outlet.empty() || left_ == 0);
}

/// The socket takes so much.
void Play::take(std::size_t size) {
  Outlet& outlet = session_->outlet();
  const std::string_view bytes = outlet.waiting().substr(0, size);
  if (bytes.empty()) return;
  const auto count = static_cast<int>(bytes.size());
  PW_CHECK(::BIO_write(to_client_, bytes.data(), count) == count);
  taken_ += outlet.taken(bytes.size()).value;
  PW_CHECK(outlet.held().value == sealed_ - taken_);
  if (session_->established()) client_reads();
}

void Play::end() {
  take(SendBuffer::size);
  session_->close_notify();
  take(SendBuffer::size);
  PW_CHECK(session_->outlet().empty() && taken_ == sealed_);
  if (client_failed_) return;
  PW_CHECK(client_read_ == sealed_);
  const bool closed = (::SSL_get_shutdown(client_) & SSL_RECEIVED_SHUTDOWN) != 0;
  PW_CHECK(closed || !may_seal());
}

}  // namespace

/// The first byte is the client's wish; each other one an operation of three bits and its argument.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static_cast<void>(Play::server_context());  // before the numbers begin
  if (size < 2) return 0;
  fuzz::begin_random_numbers_again();
  Play play(data[0]);
  for (const std::uint8_t byte : std::span(data + 1, std::min(size - 1, most_operations))) {
    play.operate(byte & 7U, byte >> 3U);
  }
  play.end();
  return 0;
}
