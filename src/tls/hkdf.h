// HKDF as TLS 1.3 uses it (RFC 5869, RFC 8446 7.1), with the hashes of its cipher suites: SHA-256
// and SHA-384.
#pragma once

#include <openssl/types.h>

#include <array>
#include <span>
#include <string_view>

namespace pagewire::tls {

using Bytes = std::span<const unsigned char>;

/// Room for one output of the largest hash.
using HashRoom = std::array<unsigned char, 48>;

/// HKDF-Extract: one hash into `into`.
void hkdf_extract(const EVP_MD* digest, Bytes salt, Bytes key, std::span<unsigned char> into);

struct HkdfLabel {
  std::string_view prefix = "tls13 ";
  std::string_view label;
  Bytes context = {};
};
/// HKDF-Expand-Label. `into` is at most one hash long, which is all that TLS asks for. False: it is
/// longer, or the label is, than any of TLS's.
bool hkdf_expand_label(const EVP_MD* digest, Bytes secret, const HkdfLabel& label,
                       std::span<unsigned char> into);

}  // namespace pagewire::tls
