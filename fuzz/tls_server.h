// What the fuzz targets of TLS share: a server's context, and random numbers that are the same for
// each input, so that an input does the same in each run and coverage means something.
//
// RAND_set_rand_method(3) is deprecated and still the shortest way there; the process is a fuzzer.
#pragma once

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstdint>
#include <memory>

#include "tls/key_schedule.h"

namespace pagewire::fuzz {

inline std::uint64_t random_state = 0;

/// splitmix64, a byte of each number.
inline int next_random_bytes(unsigned char* into, int size) {
  for (int i = 0; i < size; ++i) {
    std::uint64_t mixed = random_state += 0x9e3779b97f4a7c15U;
    mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebU;
    into[i] = static_cast<unsigned char>(mixed >> 56U);
  }
  return 1;
}

/// Before anything of OpenSSL's asks for one.
inline void make_random_numbers_repeat() {
  static const RAND_METHOD method{.seed = nullptr,
                                  .bytes = next_random_bytes,
                                  .cleanup = nullptr,
                                  .add = nullptr,
                                  .pseudorand = next_random_bytes,
                                  .status = [] { return 1; }};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  ::RAND_set_rand_method(&method);
#pragma GCC diagnostic pop
}

inline void begin_random_numbers_again() {
  random_state = 0;
}

inline std::shared_ptr<SSL_CTX> make_server_context() {
  make_random_numbers_repeat();
  static const tls::LibraryPtr library = tls::make_library();
  std::shared_ptr<SSL_CTX> context = tls::make_server_context(library.get());
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  X509* const certificate = ::X509_new();
  ::X509_gmtime_adj(::X509_getm_notBefore(certificate), 0);
  ::X509_gmtime_adj(::X509_getm_notAfter(certificate), 86'400);
  ::X509_set_pubkey(certificate, key);
  ::X509_sign(certificate, key, ::EVP_sha256());
  ::SSL_CTX_use_certificate(context.get(), certificate);
  ::SSL_CTX_use_PrivateKey(context.get(), key);
  ::X509_free(certificate);
  ::EVP_PKEY_free(key);
  return context;
}

}  // namespace pagewire::fuzz
