// Owners of OpenSSL's objects, and its errors as text.
#pragma once

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "base/free.h"

namespace pagewire::tls {

using BioPtr = std::unique_ptr<BIO, Free<BIO_free>>;
using X509Ptr = std::unique_ptr<X509, Free<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using CipherPtr = std::unique_ptr<EVP_CIPHER, Free<EVP_CIPHER_free>>;
using SslCtxPtr = std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>>;

/// The thread that lets a library context go also lets go of its own random number generator in
/// there, which only a thread itself can free.
struct FreeLibrary {
  /// Loaded into the library by name: OSSL_LIB_CTX_free(3) leaves those alone (they would leak).
  std::array<OSSL_PROVIDER*, 2> providers{};

  void operator()(OSSL_LIB_CTX* library) const {
    OPENSSL_thread_stop_ex(library);
    for (OSSL_PROVIDER* const provider : providers) {
      if (provider != nullptr) OSSL_PROVIDER_unload(provider);
    }
    OSSL_LIB_CTX_free(library);
  }
};
/// Algorithms as they were looked up. It must outlive everything that was made with it.
using LibraryPtr = std::unique_ptr<OSSL_LIB_CTX, FreeLibrary>;

/// Reads from `bytes`, which must outlive it.
inline BioPtr bio_over(std::string_view bytes) {
  return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

/// The reason of the last error of this thread in OpenSSL's words, without its numbers and file
/// names; forgets the errors.
std::string last_reason();

}  // namespace pagewire::tls
