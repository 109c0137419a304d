// The peer's side of TLS for the conformance suite: fixed keys, and a reader that opens records by
// itself, after RFC 8446 5.2, knowing nothing of the code that seals them.
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "tls/tls.h"

namespace pagewire::test {

inline tls::WriteKeys fixed_keys() {
  tls::WriteKeys keys;
  keys.version = tls::Version::Tls13;
  keys.aead = tls::Aead::Aes128Gcm;
  for (std::size_t i = 0; i < 16; ++i) keys.key[i] = static_cast<unsigned char>(7 * i + 1);
  for (std::size_t i = 0; i < 12; ++i) keys.iv[i] = static_cast<unsigned char>(11 * i + 3);
  return keys;
}

/// What is sealed with fixed_keys() from sequence number 0 on.
class RecordReader {
 public:
  /// Calls `take` with the plain bytes of each record that is whole. False: one does not open.
  template <class Take>
  bool feed(std::string_view bytes, Take take) {
    bytes_ += bytes;
    std::size_t at = 0;
    while (bytes_.size() - at >= header_size) {
      const std::size_t length = (byte(at + 3) << 8U) + byte(at + 4);
      if (bytes_.size() - at < header_size + length) break;
      if (!open(at, length)) return false;
      take(std::string_view(plain_));
      ++records_;
      at += header_size + length;
    }
    bytes_.erase(0, at);
    return true;
  }
  std::uint64_t records() const { return records_; }

 private:
  static constexpr std::size_t header_size = 5;
  static constexpr std::size_t tag_size = 16;
  std::size_t byte(std::size_t at) const { return static_cast<unsigned char>(bytes_[at]); }

  bool open(std::size_t at, std::size_t length) {
    if (byte(at) != 23 || byte(at + 1) != 3 || byte(at + 2) != 3) return false;
    if (length <= tag_size || length > 16384 + 256) return false;
    const tls::WriteKeys keys = fixed_keys();
    std::array<unsigned char, 12> nonce = keys.iv;
    for (int i = 0; i < 8; ++i) nonce[11 - i] ^= static_cast<unsigned char>(records_ >> (8 * i));
    auto* const data = reinterpret_cast<unsigned char*>(bytes_.data() + at);
    const std::size_t sealed = length - tag_size;
    plain_.resize(sealed);
    int n = 0;
    const bool good =
        ::EVP_DecryptInit_ex(context_.get(), ::EVP_aes_128_gcm(), nullptr, keys.key.data(),
                             nonce.data()) == 1 &&
        ::EVP_DecryptUpdate(context_.get(), nullptr, &n, data, header_size) == 1 &&
        ::EVP_DecryptUpdate(context_.get(), reinterpret_cast<unsigned char*>(plain_.data()), &n,
                            data + header_size, static_cast<int>(sealed)) == 1 &&
        ::EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_SET_TAG, tag_size,
                              data + header_size + sealed) == 1 &&
        ::EVP_DecryptFinal_ex(context_.get(), data, &n) == 1;
    if (!good || plain_.back() != 23) return false;  // application data, without padding
    plain_.pop_back();
    return true;
  }

  struct End {
    void operator()(EVP_CIPHER_CTX* context) const { ::EVP_CIPHER_CTX_free(context); }
  };
  std::unique_ptr<EVP_CIPHER_CTX, End> context_{::EVP_CIPHER_CTX_new()};
  std::string bytes_;
  std::string plain_;
  std::uint64_t records_ = 0;
};

}  // namespace pagewire::test
