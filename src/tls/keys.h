// The write keys of either side, derived from its traffic secret (TLS 1.3) or from the master
// secret (TLS 1.2).
//
// Rests on RFC 8446 7.1 and 7.3 (HKDF-Expand-Label, "key", "iv"), 7.2 ("traffic upd"), RFC 5246 6.3
// (key_block), RFC 5288 and 7905 (what of it an AEAD cipher takes).
#pragma once

#include <openssl/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "tls/version.h"

struct ssl_cipher_st;  // SSL_CIPHER of <openssl/ssl.h>, which is large

namespace pagewire::tls {

/// The AEAD ciphers that records can be written with; the others are not negotiated.
enum class Aead : std::uint8_t { Aes128Gcm, Aes256Gcm, ChaCha20Poly1305 };

/// Bytes of a record key: 16 or 32.
std::size_t key_size(Aead aead);
const EVP_CIPHER* evp_cipher(Aead aead);
/// nullopt: not one of them (CBC, CCM).
std::optional<Aead> aead_of(const ssl_cipher_st* cipher);

/// Room for secrets of every hash that a cipher suite uses.
struct Secret {
  std::array<unsigned char, 48> bytes{};
  std::size_t size = 0;
  Secret() = default;
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;
  ~Secret() { wipe(); }
  void wipe();
  std::span<const unsigned char> view() const { return {bytes.data(), size}; }
};

struct WriteKeys {
  Version version = Version::Tls13;
  Aead aead = Aead::Aes128Gcm;
  std::array<unsigned char, 32> key{};
  /// TLS 1.3 and ChaCha20: XORed with the sequence number; TLS 1.2 GCM: the first 4 bytes are the
  /// salt, the rest is not used.
  std::array<unsigned char, 12> iv{};
  const EVP_MD* digest = nullptr;  ///< of the cipher suite
  Secret secret{};                 ///< TLS 1.3: the traffic secret, for the next one

  WriteKeys() = default;
  WriteKeys(const WriteKeys&) = default;
  WriteKeys& operator=(const WriteKeys&) = default;
  ~WriteKeys() { wipe(); }
  void wipe_record_key();  ///< key and IV
  void wipe();             ///< and the secret
};

/// Of a handshake that is complete; `traffic_secret` is SERVER_TRAFFIC_SECRET_0 (TLS 1.3). nullopt:
/// the cipher is not an Aead, or there is no secret.
std::optional<WriteKeys> server_write_keys(const SSL* ssl, const Secret& traffic_secret);
/// The same of the client, which is what a server reads with; of CLIENT_TRAFFIC_SECRET_0.
std::optional<WriteKeys> client_write_keys(const SSL* ssl, const Secret& traffic_secret);

/// After a KeyUpdate of whoever writes with them (RFC 8446 7.2).
WriteKeys updated(const WriteKeys& keys);

}  // namespace pagewire::tls
