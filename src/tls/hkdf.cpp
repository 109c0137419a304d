#include "tls/hkdf.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>

#include "base/check.h"

namespace pagewire::tls {

namespace {

/// HMAC with a context that is kept: HMAC(3) fetches the algorithm anew each time, which costs as
/// much as the HMAC itself. One for each thread and hash.
class Hmac {
 public:
  explicit Hmac(const EVP_MD* digest) {
    EVP_MAC* const mac = ::EVP_MAC_fetch(nullptr, "HMAC", nullptr);
    context_ = ::EVP_MAC_CTX_new(mac);
    ::EVP_MAC_free(mac);
    const std::array<OSSL_PARAM, 2> parameters = {
        ::OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                           const_cast<char*>(::EVP_MD_get0_name(digest)), 0),
        ::OSSL_PARAM_construct_end()};
    PW_CHECK(context_ != nullptr && ::EVP_MAC_CTX_set_params(context_, parameters.data()) == 1);
  }
  Hmac(const Hmac&) = delete;
  Hmac& operator=(const Hmac&) = delete;
  ~Hmac() { ::EVP_MAC_CTX_free(context_); }

  static Hmac& of(const EVP_MD* digest) {
    thread_local Hmac sha256(::EVP_sha256());
    thread_local Hmac sha384(::EVP_sha384());
    return ::EVP_MD_get_size(digest) == 48 ? sha384 : sha256;
  }
  std::size_t operator()(Bytes key, Bytes message, std::span<unsigned char> into) {
    std::size_t size = 0;
    const bool made = ::EVP_MAC_init(context_, key.data(), key.size(), nullptr) == 1 &&
                      ::EVP_MAC_update(context_, message.data(), message.size()) == 1 &&
                      ::EVP_MAC_final(context_, into.data(), &size, into.size()) == 1;
    PW_CHECK(made);
    return size;
  }

 private:
  EVP_MAC_CTX* context_ = nullptr;
};

}  // namespace

void hkdf_extract(const EVP_MD* digest, Bytes salt, Bytes key, std::span<unsigned char> into) {
  Hmac::of(digest)(salt, key, into);
}

/// One block of the hash, so that HKDF-Expand (RFC 5869 2.3) is one HMAC.
bool hkdf_expand_label(const EVP_MD* digest, Bytes secret, const HkdfLabel& label,
                       std::span<unsigned char> into) {
  // Length, label and context each behind its length, and the number of the block.
  std::array<unsigned char, 2 + 1 + 32 + 1 + sizeof(HashRoom) + 1> info;
  const std::size_t name_size = label.prefix.size() + label.label.size();
  const bool fits = name_size <= 32 && label.context.size() <= sizeof(HashRoom);
  if (!fits || into.size() > static_cast<std::size_t>(::EVP_MD_get_size(digest))) return false;
  std::size_t size = 0;
  const auto put = [&](std::size_t byte) { info[size++] = static_cast<unsigned char>(byte); };
  put(0);
  put(into.size());
  put(name_size);
  for (const char c : label.prefix) put(static_cast<unsigned char>(c));
  for (const char c : label.label) put(static_cast<unsigned char>(c));
  put(label.context.size());
  for (const unsigned char c : label.context) put(c);
  put(1);
  HashRoom block;
  Hmac::of(digest)(secret, std::span(info).first(size), block);
  std::copy_n(block.begin(), into.size(), into.begin());
  ::OPENSSL_cleanse(block.data(), block.size());
  return true;
}

}  // namespace pagewire::tls
