// Which ciphers are spoken, and in which order.
#pragma once

#include <string>

namespace pagewire::tls {

/// Whether the CPU has instructions for AES and for GCM's multiplication.
bool cpu_has_aes();

/// Lists for SSL_CTX_set_ciphersuites (TLS 1.3) and SSL_CTX_set_cipher_list (TLS 1.2).
struct CipherOrder {
  std::string tls13;
  std::string tls12;
};

/// ECDHE with an AEAD only (Mozilla's intermediate, without its DHE for old clients). All of them
/// are in the kernel's TLS (AES-128-GCM since Linux 4.13, AES-256-GCM 5.1, ChaCha20 5.11). With AES
/// instructions AES-128-GCM costs a fifth less than AES-256-GCM, and ChaCha20 two to three
/// times as much; without them ChaCha20 is the cheapest by far.
CipherOrder cipher_order(bool fast_aes);

}  // namespace pagewire::tls
