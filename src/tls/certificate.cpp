#include "tls/certificate.h"

#include <fmt/format.h>
#include <openssl/pem.h>

#include <utility>

#include "base/units.h"
#include "sys/text_file.h"

namespace pagewire::tls {

namespace {

// Chains have a few KiB; bundles of roots 200.
constexpr std::size_t largest_file = 4 * mib;

tl::unexpected<std::string> wrong(std::string text) {
  return tl::unexpected(std::move(text));
}

OrText<void> check_dates(const X509& leaf, const std::string& name, std::time_t now) {
  const ASN1_TIME* const from = X509_get0_notBefore(&leaf);
  const ASN1_TIME* const until = X509_get0_notAfter(&leaf);
  std::time_t at = now;
  if (X509_cmp_time(until, &at) <= 0) {
    return wrong(fmt::format("the certificate {} has expired: it was valid until {}", name,
                             show_time(*until)));
  }
  if (X509_cmp_time(from, &at) > 0) {
    return wrong(
        fmt::format("the certificate {} is valid only from {} on", name, show_time(*from)));
  }
  return {};
}

/// Called by OpenSSL when a key is encrypted. Nobody is asked: a server starts without a terminal.
int note_that_it_is_encrypted(char*, int, int, void* encrypted) {
  *static_cast<bool*>(encrypted) = true;
  return -1;
}

OrText<KeyPtr> parse_key(OSSL_LIB_CTX* library, const CertificateTexts& texts) {
  const std::string& name = texts.files.key;
  bool encrypted = false;
  const BioPtr bio = bio_over(texts.key.view());
  KeyPtr key(PEM_read_bio_PrivateKey_ex(bio.get(), nullptr, note_that_it_is_encrypted, &encrypted,
                                        library, nullptr));
  const std::string reason = last_reason();
  if (key != nullptr) return key;
  if (encrypted) {
    return wrong(fmt::format(
        "the key {} is encrypted; store it decrypted, readable by pagewire's user alone "
        "(openssl pkey -in {} -out FILE)",
        name, name));
  }
  return wrong(fmt::format("the key {} holds no private key in PEM ({})", name, reason));
}

}  // namespace

OrText<std::string> read_file(std::string_view what, const std::string& name) {
  Result<std::string> text = sys::read_text(name, largest_file);
  if (!text) {
    return wrong(fmt::format("cannot read the {} {}: {}", what, name,
                             std::strerror(text.error().errno_value)));
  }
  return std::move(*text);
}

OrText<CertificateTexts> read_certificate(const CertificateFiles& files) {
  CertificateTexts texts;
  texts.files = files;
  OrText<std::string> chain = read_file("certificate", files.chain);
  if (!chain) return wrong(chain.error());
  texts.chain = std::move(*chain);
  OrText<std::string> key = read_file("key", files.key);
  if (!key) return wrong(key.error());
  texts.key = SecretText(std::move(*key));
  if (files.ocsp.empty()) return texts;
  OrText<std::string> ocsp = read_file("OCSP response", files.ocsp);
  if (!ocsp) return wrong(ocsp.error());
  texts.ocsp = std::move(*ocsp);
  return texts;
}

OrText<Certificate> parse_certificate(OSSL_LIB_CTX* library, const CertificateTexts& texts,
                                      std::time_t now) {
  const std::string& chain_name = texts.files.chain;
  OrText<std::vector<X509Ptr>> chain = parse_pem_certificates(library, texts.chain);
  if (!chain) {
    return wrong(fmt::format("the certificate {} is broken ({})", chain_name, chain.error()));
  }
  if (chain->empty()) return wrong(fmt::format("{} holds no certificate in PEM", chain_name));
  Certificate certificate;
  certificate.leaf = std::move(chain->front());
  chain->erase(chain->begin());
  certificate.between = std::move(*chain);
  if (OrText<void> valid = check_dates(*certificate.leaf, chain_name, now); !valid) {
    return wrong(valid.error());
  }
  OrText<KeyPtr> key = parse_key(library, texts);
  if (!key) return wrong(key.error());
  certificate.key = std::move(*key);
  if (X509_check_private_key(certificate.leaf.get(), certificate.key.get()) != 1) {
    ERR_clear_error();
    return wrong(fmt::format("the key {} does not belong to the certificate {}", texts.files.key,
                             chain_name));
  }
  return certificate;
}

OrText<std::vector<X509Ptr>> parse_pem_certificates(OSSL_LIB_CTX* library, std::string_view pem) {
  std::vector<X509Ptr> certificates;
  const BioPtr bio = bio_over(pem);
  for (;;) {
    X509* certificate = X509_new_ex(library, nullptr);
    if (PEM_read_bio_X509(bio.get(), &certificate, nullptr, nullptr) == nullptr) {
      X509_free(certificate);  // null where it was freed because its bytes are wrong
      break;
    }
    certificates.emplace_back(certificate);
  }
  // No further "-----BEGIN": the end. Anything else stands in the middle of one.
  const bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string reason = last_reason();
  if (!ended) return wrong(reason);
  return certificates;
}

std::string show_time(const ASN1_TIME& time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(&time, &parts) != 1) return "an unknown time";
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

}  // namespace pagewire::tls
