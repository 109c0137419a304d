// Session tickets as one worker's handshakes make and read them: RFC 5077, RFC 8446 section 4.6.1.
//
// AES-256-CBC and HMAC-SHA256: what RFC 5077 recommends and OpenSSL's callback has room for.
#pragma once

#include "tls/openssl.h"
#include "tls/tls.h"

namespace pagewire::tls {

class Tickets {
 public:
  Tickets(OSSL_LIB_CTX* library, TicketKeys& shared);

  /// What OpenSSL hands its callback (SSL_CTX_set_tlsext_ticket_key_evp_cb(3)).
  struct Ticket {
    unsigned char* name;  ///< 16 bytes
    unsigned char* iv;
    EVP_CIPHER_CTX* cipher;
    EVP_MAC_CTX* mac;
  };
  /// Sets up both contexts, and chooses name and iv. What the callback returns: 1, or -1.
  int encrypt(const Ticket& ticket);
  /// 0: the key is unknown, the handshake is a full one; 1: set up; 2: and the client is to have a
  /// new ticket, because the key of this one grows old. Not at each resumption, as would suit
  /// clients that use a ticket once (RFC 8446 C.4): docs/adr/0008 says why.
  int decrypt(const Ticket& ticket);

 private:
  const TicketKeySet& keys();

  OSSL_LIB_CTX* library_;
  TicketKeys& shared_;
  TicketKeySet set_;  // a copy, so that the lock is taken once a period
  CipherPtr cipher_;
};

}  // namespace pagewire::tls
