#include "tls/keys.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/ssl.h>

#include <cstring>
#include <string_view>

#include "base/check.h"
#include "tls/hkdf.h"

namespace pagewire::tls {

namespace {

void expand(const WriteKeys& keys, std::string_view label, std::span<unsigned char> into) {
  PW_CHECK(hkdf_expand_label(keys.digest, keys.secret.view(), {.label = label}, into));
}

void fill_from_secret(WriteKeys& keys) {
  const std::span<unsigned char> key(keys.key.data(), key_size(keys.aead));
  expand(keys, "key", key);
  expand(keys, "iv", keys.iv);
}

/// RFC 5246 5: P_hash with the seed "key expansion", server random, client random.
bool key_block(const SSL* ssl, const EVP_MD* digest, std::span<unsigned char> into) {
  static EVP_KDF* const prf = ::EVP_KDF_fetch(nullptr, "TLS1-PRF", nullptr);
  constexpr std::string_view label = "key expansion";
  std::array<unsigned char, SSL_MAX_MASTER_KEY_LENGTH> master{};
  std::array<unsigned char, label.size() + 2 * SSL3_RANDOM_SIZE> seed{};
  const std::size_t master_size =
      ::SSL_SESSION_get_master_key(::SSL_get_session(ssl), master.data(), master.size());
  label.copy(reinterpret_cast<char*>(seed.data()), label.size());
  ::SSL_get_server_random(ssl, seed.data() + label.size(), SSL3_RANDOM_SIZE);
  ::SSL_get_client_random(ssl, seed.data() + label.size() + SSL3_RANDOM_SIZE, SSL3_RANDOM_SIZE);
  EVP_KDF_CTX* const context = ::EVP_KDF_CTX_new(prf);
  if (context == nullptr) return false;  // out of memory
  const std::array<OSSL_PARAM, 4> parameters = {
      ::OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
                                         const_cast<char*>(::EVP_MD_get0_name(digest)), 0),
      ::OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, master.data(), master_size),
      ::OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed.data(), seed.size()),
      ::OSSL_PARAM_construct_end()};
  const bool made = ::EVP_KDF_derive(context, into.data(), into.size(), parameters.data()) == 1;
  ::EVP_KDF_CTX_free(context);
  ::OPENSSL_cleanse(master.data(), master.size());
  return made;
}

enum class Side : std::uint8_t { Client, Server };  // in the order of the key block

/// An AEAD cipher takes no MAC keys: client key, server key, client IV, server IV.
bool fill_from_key_block(const SSL* ssl, Side side, WriteKeys& keys) {
  const auto at = static_cast<std::size_t>(side);
  const std::size_t key = key_size(keys.aead);
  const std::size_t iv = keys.aead == Aead::ChaCha20Poly1305 ? 12 : 4;
  std::array<unsigned char, 2 * 32 + 2 * 12> block{};
  if (!key_block(ssl, keys.digest, std::span(block).first(2 * key + 2 * iv))) return false;
  std::memcpy(keys.key.data(), block.data() + at * key, key);
  std::memcpy(keys.iv.data(), block.data() + 2 * key + at * iv, iv);
  ::OPENSSL_cleanse(block.data(), block.size());
  return true;
}

std::optional<WriteKeys> write_keys(const SSL* ssl, Side side, const Secret& traffic_secret) {
  const SSL_CIPHER* const cipher = ::SSL_get_current_cipher(ssl);
  const std::optional<Aead> aead = aead_of(cipher);
  if (!aead) return {};
  WriteKeys keys;
  keys.version = ::SSL_version(ssl) == TLS1_3_VERSION ? Version::Tls13 : Version::Tls12;
  keys.aead = *aead;
  keys.digest = ::SSL_CIPHER_get_handshake_digest(cipher);
  if (keys.version == Version::Tls12) {
    if (!fill_from_key_block(ssl, side, keys)) return {};
    return keys;
  }
  if (traffic_secret.size == 0) return {};
  keys.secret = traffic_secret;
  fill_from_secret(keys);
  return keys;
}

}  // namespace

void Secret::wipe() {
  ::OPENSSL_cleanse(bytes.data(), bytes.size());
  size = 0;
}

void WriteKeys::wipe_record_key() {
  ::OPENSSL_cleanse(key.data(), key.size());
  ::OPENSSL_cleanse(iv.data(), iv.size());
}

void WriteKeys::wipe() {
  wipe_record_key();
  secret.wipe();
}

std::size_t key_size(Aead aead) {
  return aead == Aead::Aes128Gcm ? 16 : 32;
}

/// Fetched once: an implicit fetch in each handshake would take the provider's lock.
const EVP_CIPHER* evp_cipher(Aead aead) {
  static const std::array<EVP_CIPHER*, 3> ciphers = {
      ::EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr),
      ::EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr),
      ::EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr)};
  return ciphers[static_cast<std::size_t>(aead)];
}

std::optional<Aead> aead_of(const ssl_cipher_st* cipher) {
  if (cipher == nullptr) return {};
  switch (::SSL_CIPHER_get_cipher_nid(cipher)) {
    case NID_aes_128_gcm:
      return Aead::Aes128Gcm;
    case NID_aes_256_gcm:
      return Aead::Aes256Gcm;
    case NID_chacha20_poly1305:
      return Aead::ChaCha20Poly1305;
    default:  // an int of OpenSSL's, not an enumeration of ours
      return {};
  }
}

std::optional<WriteKeys> server_write_keys(const SSL* ssl, const Secret& traffic_secret) {
  return write_keys(ssl, Side::Server, traffic_secret);
}

std::optional<WriteKeys> client_write_keys(const SSL* ssl, const Secret& traffic_secret) {
  return write_keys(ssl, Side::Client, traffic_secret);
}

WriteKeys updated(const WriteKeys& keys) {
  PW_CHECK(keys.version == Version::Tls13);
  WriteKeys next = keys;
  expand(keys, "traffic upd", std::span(next.secret.bytes).first(keys.secret.size));
  fill_from_secret(next);
  return next;
}

}  // namespace pagewire::tls
