// KeySchedule: the key schedule of TLS 1.3 (RFC 8446 7.1) as a provider of OpenSSL's, with one
// algorithm, TLS13-KDF, which libssl asks about 20 times a handshake (provider-kdf(7)).
//
// Ours, because it is where the traffic secrets can be seen as they are made, which OpenSSL
// tells nobody else but a key log, in hexadecimal and slowly; and because with HMAC contexts that
// are kept each of those calls costs half of what it does in OpenSSL 3.0 (docs/adr/0010).
//
// Belongs to a library context of OpenSSL's, and so to one worker.
#pragma once

#include "tls/keys.h"
#include "tls/openssl.h"

namespace pagewire::tls {

class KeySchedule {
 public:
  KeySchedule() = default;
  KeySchedule(const KeySchedule&) = delete;
  KeySchedule& operator=(const KeySchedule&) = delete;

  /// Of the SSL_CTX, which make_server_context() made.
  static KeySchedule& of(const SSL_CTX& context);

  /// Whether a handshake has derived its SERVER_TRAFFIC_SECRET_0 since the last one was taken.
  bool has_server_secret() const { return server_secret_.size > 0; }
  Secret take_server_secret();
  /// The same of CLIENT_TRAFFIC_SECRET_0.
  bool has_client_secret() const { return client_secret_.size > 0; }
  Secret take_client_secret();

 private:
  friend struct KeyScheduleProvider;
  Secret server_secret_;
  Secret client_secret_;
};

/// A library context in which the key schedule is ours, and everything else OpenSSL's default.
/// nullptr: out of memory.
LibraryPtr make_library();

/// Of a server, in a library of make_library(). nullptr: out of memory.
SslCtxPtr make_server_context(OSSL_LIB_CTX* library);

}  // namespace pagewire::tls
