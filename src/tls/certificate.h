// A certificate with its chain and its key: read from files, parsed, and checked.
#pragma once

#include <atomic>
#include <ctime>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "tls/openssl.h"
#include "tls/tls.h"

namespace pagewire::tls {

template <class T>
using OrText = tl::expected<T, std::string>;  ///< or one line for the user

/// Text that is wiped when it goes. A text that was moved from is empty, and short ones, which a
/// string would keep in itself, are no keys.
class SecretText {
 public:
  SecretText() = default;
  explicit SecretText(std::string text) : text_(std::move(text)) {}
  SecretText(SecretText&& other) noexcept : text_(std::exchange(other.text_, {})) {}
  SecretText& operator=(SecretText&& other) noexcept {
    text_.swap(other.text_);
    return *this;
  }
  ~SecretText() { OPENSSL_cleanse(text_.data(), text_.size()); }
  std::string_view view() const { return text_; }

 private:
  std::string text_;
};

/// The bytes of the files, read once for all workers.
struct CertificateTexts {
  CertificateFiles files;  ///< whose they are, for errors
  std::string chain;
  SecretText key;
  std::string ocsp;
  /// Whether somebody has said that the OCSP response became stale: one of all workers does.
  std::shared_ptr<std::atomic<bool>> told_stale = std::make_shared<std::atomic<bool>>(false);
};
OrText<CertificateTexts> read_certificate(const CertificateFiles& files);

/// The whole file. "cannot read the certificate /x.pem: No such file or directory"
OrText<std::string> read_file(std::string_view what, const std::string& name);

struct Certificate {
  X509Ptr leaf;
  std::vector<X509Ptr> between;  ///< from the leaf's issuer on; without the root, if all is well
  KeyPtr key;
};

/// Pure but for OpenSSL's memory. What is wrong when: not PEM, no certificate, not yet or no longer
/// valid at `now`, no key, an encrypted key, a key of another certificate.
OrText<Certificate> parse_certificate(OSSL_LIB_CTX* library, const CertificateTexts& texts,
                                      std::time_t now);

/// Every certificate of a PEM file; empty where there is none. The error is OpenSSL's reason.
OrText<std::vector<X509Ptr>> parse_pem_certificates(OSSL_LIB_CTX* library, std::string_view pem);

/// "2026-01-31 23:59:59 UTC"
std::string show_time(const ASN1_TIME& time);

}  // namespace pagewire::tls
