// A Session on one end of a connection over loopback, OpenSSL's client on the other.
#pragma once

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <memory>
#include <string>

#include "support/tls_certificates.h"
#include "sys/socket.h"
#include "tls/key_schedule.h"
#include "tls/session.h"

namespace pagewire::tls {

using Kind = Session::Read::Kind;
using SslCtx = std::shared_ptr<SSL_CTX>;

inline SslCtx server_context() {
  static const test::MadeCertificate certificate = test::make_certificate({});
  static const LibraryPtr library = make_library();
  SslCtx context = make_server_context(library.get());
  ::SSL_CTX_use_certificate(context.get(), certificate.certificate.get());
  ::SSL_CTX_use_PrivateKey(context.get(), certificate.key.get());
  return context;
}

struct Wish {
  int version = TLS1_3_VERSION;
  const char* cipher = "";
  std::size_t tickets = 2;
  std::uint32_t key_updates = 32;
  bool kernel_receive = false;  ///< is asked for, whether there is such a kernel or not
  std::uint8_t max_fragment = TLSEXT_max_fragment_length_DISABLED;
};

/// The server's Session on one end of a connection, OpenSSL on the other. What the client writes is
/// offered without a socket between.
class Both {
 public:
  explicit Both(const Wish& wish = {}) : facts_{.key_updates = wish.key_updates} {
    if (wish.kernel_receive) facts_.no_kernel_receive = KernelReason::None;
    ::SSL_CTX_set_num_tickets(context_.get(), wish.tickets);
    session = Session::make(*context_, context_, buffers, facts_);
    client_context_ = SslCtx(::SSL_CTX_new(::TLS_client_method()), ::SSL_CTX_free);
    ::SSL_CTX_set_min_proto_version(client_context_.get(), wish.version);
    ::SSL_CTX_set_max_proto_version(client_context_.get(), wish.version);
    ::SSL_CTX_set_tlsext_max_fragment_length(client_context_.get(), wish.max_fragment);
    if (*wish.cipher != '\0') {
      wish.version == TLS1_3_VERSION
          ? ::SSL_CTX_set_ciphersuites(client_context_.get(), wish.cipher)
          : ::SSL_CTX_set_cipher_list(client_context_.get(), wish.cipher);
    }
    client = ::SSL_new(client_context_.get());
    to_client_ = ::BIO_new(::BIO_s_mem());
    from_client_ = ::BIO_new(::BIO_s_mem());
    ::SSL_set_bio(client, to_client_, from_client_);
    ::SSL_set_connect_state(client);
  }
  ~Both() {
    session.reset();  // before the buffers that it gives back to
    ::SSL_free(client);
  }

  int fd() const { return sockets_.sender.get(); }
  std::string client_bytes() {
    std::string bytes(::BIO_ctrl_pending(from_client_), '\0');
    ::BIO_read(from_client_, bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }
  /// What the server has sent so far, to the client.
  void carry() {
    EXPECT_TRUE(session->flush(fd()).value_or(false));
    std::string buffer(1 << 17, '\0');
    for (;;) {
      const ssize_t n = ::recv(sockets_.receiver.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (n <= 0) return;
      ::BIO_write(to_client_, buffer.data(), static_cast<int>(n));
    }
  }
  /// Until both have done, or the server has failed. `step`: bytes offered at a time.
  Session::Step shake(std::size_t step = 1 << 20) {
    Session::Step server = Session::Step::WantInput;
    for (int i = 0; i < 10 && server == Session::Step::WantInput; ++i) {
      ::SSL_do_handshake(client);
      const std::string bytes = client_bytes();
      for (std::size_t at = 0; at < bytes.size(); at += step) {
        const std::string_view part = std::string_view(bytes).substr(at, step);
        session->offer(part);
        server = session->handshake();
        EXPECT_FALSE(session->input_left() && server == Session::Step::WantInput);
      }
      carry();
    }
    ::SSL_do_handshake(client);
    return server;
  }
  void write(std::string_view text) {
    ASSERT_EQ(::SSL_write(client, text.data(), static_cast<int>(text.size())), int(text.size()));
  }
  /// Everything that the server reads of `bytes`.
  Kind receive(const std::string& bytes) {
    session->offer(bytes);
    std::string plain(most_plain_bytes, '\0');
    Session::Read read{Kind::WantInput, 0};
    while (session->input_left()) {
      read = session->read(plain);
      if (read.kind == Kind::Bytes) received += plain.substr(0, read.count);
      if (read.kind == Kind::Closed || read.kind == Kind::Failed) break;
    }
    return read.kind;
  }
  Kind receive() { return receive(client_bytes()); }
  void send(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = session->outlet().next_record(ByteCount{text.size() - at});
      if (size == 0) {
        carry();
        continue;
      }
      // In three pieces, as a head and parts of a body come.
      const std::size_t first = size / 3;
      const std::size_t second = size / 2 - first;
      char* const from = const_cast<char*>(text.data()) + at;
      const std::array<iovec, 3> pieces = {iovec{from, first}, iovec{from + first, second},
                                           iovec{from + first + second, size - first - second}};
      session->outlet().seal(pieces);
      at += size;
    }
    carry();
  }
  std::string client_reads() {
    std::string text;
    std::string buffer(most_plain_bytes, '\0');
    for (;;) {
      const int n = ::SSL_read(client, buffer.data(), static_cast<int>(buffer.size()));
      client_error = ::SSL_get_error(client, n);
      if (n <= 0) return text;
      text += buffer.substr(0, static_cast<std::size_t>(n));
    }
  }

  SendBuffers buffers;  // before the session, whose buffer comes back to it
  std::unique_ptr<Session> session;
  SSL* client = nullptr;
  std::string received;
  int client_error = SSL_ERROR_NONE;

 private:
  SslCtx context_ = server_context();
  SslCtx client_context_;
  SessionFacts facts_;
  sys::SocketPair sockets_ = std::move(*sys::tcp_pair_over_loopback());
  BIO* to_client_ = nullptr;
  BIO* from_client_ = nullptr;
};

inline std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + i / 256);
  return text;
}

}  // namespace pagewire::tls
