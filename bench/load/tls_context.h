// What the connections of a TLS load client share: TLS 1.3, one cipher suite, one group (X25519),
// so that every server is asked for the same work.
//
// Relies on OpenSSL 3.0. The certificate is not verified against anything, but its signature over
// the handshake is, as always.
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/free.h"

namespace pagewire::bench {

using SslContext = std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>>;
using Ssl = std::unique_ptr<SSL, Free<SSL_free>>;
using SslSession = std::unique_ptr<SSL_SESSION, Free<SSL_SESSION_free>>;

/// On stderr, with OpenSSL's reason for what failed last.
inline void complain_of_tls(const char* what) {
  const unsigned long code = ERR_get_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  std::fprintf(stderr, "bench_load_tls: %s: %s\n", what, reason ? reason : "the peer went away");
  ERR_clear_error();
}

class TlsContext {
 public:
  explicit TlsContext(std::string suite) : suite_(std::move(suite)) {
    SSL_CTX* ssl = ssl_.get();
    SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION);
    SSL_CTX_set_read_ahead(ssl, 1);  // a record's header and body by one recv
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_app_data(ssl, this);
    SSL_CTX_sess_set_new_cb(ssl, keep_ticket);
  }
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  /// False after having said why: no such suite.
  bool prepare() {
    if (SSL_CTX_set_ciphersuites(ssl_.get(), suite_.c_str()) == 1 &&
        SSL_CTX_set1_groups_list(ssl_.get(), "X25519") == 1) {
      return true;
    }
    complain_of_tls(suite_.c_str());
    return false;
  }

  /// A client on this descriptor that has not begun its handshake; null without memory.
  Ssl session_on(int fd) {
    constexpr unsigned char alpn[] = "\x08http/1.1";
    Ssl ssl(SSL_new(ssl_.get()));
    if (!ssl || SSL_set_fd(ssl.get(), fd) != 1) return nullptr;
    SSL_set_tlsext_host_name(ssl.get(), "localhost");
    SSL_set_alpn_protos(ssl.get(), alpn, sizeof alpn - 1);
    SSL_set_connect_state(ssl.get());
    return ssl;
  }

  /// Reads until a ticket has come, for at most two seconds; the SSL's descriptor does not block.
  bool wait_for_ticket(SSL* ssl) {
    char unread = 0;
    for (int waits = 0; waits < 200 && !ticket_; ++waits) {
      SSL_peek(ssl, &unread, sizeof unread);
      pollfd event{.fd = SSL_get_fd(ssl), .events = POLLIN, .revents = 0};
      if (!ticket_) ::poll(&event, 1, 10);
    }
    return ticket_ != nullptr;
  }
  /// OpenSSL uses a ticket of TLS 1.3 once; servers take one again and again.
  SslSession copy_of_ticket() const { return SslSession(SSL_SESSION_dup(ticket_.get())); }

  std::vector<char> scratch = std::vector<char>(64 * 1024);

 private:
  /// The first one stays.
  static int keep_ticket(SSL* ssl, SSL_SESSION* session) {
    auto* self = static_cast<TlsContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
    if (self->ticket_ || !SSL_SESSION_is_resumable(session)) return 0;
    self->ticket_.reset(session);
    return 1;  // it is ours now (SSL_CTX_sess_set_new_cb(3))
  }

  SslContext ssl_{SSL_CTX_new(TLS_client_method())};
  std::string suite_;
  SslSession ticket_;
};

}  // namespace pagewire::bench
