// A host: the certificates that answer for the same names, and the SSL_CTX that has them.
//
// They are more than one where their keys are of different types (ECDSA and RSA): OpenSSL takes
// one that the client can verify. Every host of a context is set up alike, so that it does not
// matter when in a handshake the SNI callback switches.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "tls/certificate.h"
#include "tls/names.h"
#include "tls/ocsp.h"
#include "tls/openssl.h"
#include "tls/tickets.h"
#include "tls/tls.h"

namespace pagewire::tls {

/// Of client certificates.
struct ClientRoots {
  std::vector<X509Ptr> certificates;  ///< none: clients are not asked
  /// Differs where anything does that decides who is let in: tickets of before are then worth
  /// nothing (SSL_CTX_set_session_id_context(3)).
  std::string policy;
};

struct ServedCertificate {
  Certificate certificate;
  Staple staple;
  CertificateFiles files;
  std::shared_ptr<std::atomic<bool>> told_stale;  ///< by one worker for all of them
};

struct Host;

/// All hosts of a context. Only its one worker's handshakes use it.
struct Hosts {
  explicit Hosts(TicketKeys& keys);

  LibraryPtr library;  // first: it outlives the rest
  Tickets tickets;
  std::vector<std::unique_ptr<Host>> all;
  Names names;  ///< to their number in `all`
};

struct Host {
  Hosts& hosts;
  SslCtxPtr ctx;
  std::vector<std::string> names;
  std::vector<ServedCertificate> served;
};

/// A host without a certificate: protocol, ciphers, tickets, client certificates, callbacks.
OrText<std::unique_ptr<Host>> make_host(Hosts& hosts, const Settings& settings,
                                        const ClientRoots& roots);

/// Errors: what OpenSSL finds too weak (SSL_CTX_get_security_level(3)).
OrText<void> add_certificate(Host& host, ServedCertificate added);

/// Whether the host has a certificate whose key is of that type.
bool has_key_of_type(const Host& host, int type);

}  // namespace pagewire::tls
