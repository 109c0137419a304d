// A stored OCSP response, stapled to handshakes while it holds: RFC 6066 section 8, RFC 6960.
//
// Something else fetches it anew (certbot, openssl ocsp) and sends SIGHUP. Whether its signature is
// right is for the client to see; a wrong one only makes clients ask the authority themselves.
#pragma once

#include <ctime>
#include <string>

#include "tls/certificate.h"

namespace pagewire::tls {

struct Staple {
  std::string der;  ///< "": none
  std::time_t until = 0;
};

/// Checks that `texts.ocsp` is a response, a successful one, and about `leaf`. One that is stale at
/// `now` becomes none, and `note` says so.
OrText<Staple> parse_staple(const CertificateTexts& texts, const X509& leaf, std::time_t now,
                            std::string& note);

}  // namespace pagewire::tls
