// Certificates for tests, made on the spot with OpenSSL: self-signed, or signed by another one.
#pragma once

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace pagewire::test {

enum class KeyType { Ecdsa, Rsa };

struct CertificateWish {
  std::string names = {};  ///< subjectAltName as openssl.cnf has it: "DNS:a.test,DNS:*.b.test"
  KeyType key = KeyType::Ecdsa;
  long valid_from_s = -3600;  ///< from now
  long valid_until_s = 86'400;
  bool authority = false;
  long serial = 1;
};

struct MadeCertificate {
  std::shared_ptr<EVP_PKEY> key;
  std::shared_ptr<X509> certificate;
};

inline std::shared_ptr<EVP_PKEY> make_key(KeyType type) {
  EVP_PKEY* const key = type == KeyType::Rsa ? EVP_RSA_gen(2048U) : EVP_EC_gen("P-256");
  return {key, EVP_PKEY_free};
}

inline void add_extension(X509* certificate, int nid, const std::string& value) {
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

/// Signed by `issuer`, or by itself.
inline MadeCertificate make_certificate(const CertificateWish& wish,
                                        const MadeCertificate* issuer = nullptr) {
  MadeCertificate made{.key = make_key(wish.key), .certificate = {X509_new(), X509_free}};
  X509* const certificate = made.certificate.get();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), wish.serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), wish.valid_from_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate), wish.valid_until_s);
  X509_NAME* const subject = X509_get_subject_name(certificate);
  const std::string common_name = "pagewire test " + std::to_string(wish.serial);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                             0);
  X509_set_issuer_name(
      certificate, issuer == nullptr ? subject : X509_get_subject_name(issuer->certificate.get()));
  X509_set_pubkey(certificate, made.key.get());
  if (!wish.names.empty()) add_extension(certificate, NID_subject_alt_name, wish.names);
  add_extension(certificate, NID_basic_constraints,
                wish.authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
  X509_sign(certificate, issuer == nullptr ? made.key.get() : issuer->key.get(), EVP_sha256());
  return made;
}

inline std::string text_of(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  std::string text(bytes, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

inline std::string certificate_pem(const MadeCertificate& made) {
  BIO* const bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, made.certificate.get());
  return text_of(bio);
}

/// Encrypted where there is a password.
inline std::string key_pem(const MadeCertificate& made, const std::string& password = "") {
  BIO* const bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PKCS8PrivateKey(bio, made.key.get(), password.empty() ? nullptr : EVP_aes_128_cbc(),
                                password.data(), static_cast<int>(password.size()), nullptr,
                                nullptr);
  return text_of(bio);
}

struct OcspWish {
  int status = V_OCSP_CERTSTATUS_GOOD;
  long this_update_s = -3600;  ///< from now
  long next_update_s = 3600;
};

/// What `issuer` says about `subject`, in DER.
inline std::string ocsp_der(const MadeCertificate& subject, const MadeCertificate& issuer,
                            const OcspWish& wish) {
  OCSP_BASICRESP* const basic = OCSP_BASICRESP_new();
  OCSP_CERTID* const id =
      OCSP_cert_to_id(EVP_sha1(), subject.certificate.get(), issuer.certificate.get());
  ASN1_TIME* const revoked = X509_gmtime_adj(nullptr, -1800);
  ASN1_TIME* const from = X509_gmtime_adj(nullptr, wish.this_update_s);
  ASN1_TIME* const until = X509_gmtime_adj(nullptr, wish.next_update_s);
  OCSP_basic_add1_status(basic, id, wish.status, OCSP_REVOKED_STATUS_UNSPECIFIED,
                         wish.status == V_OCSP_CERTSTATUS_REVOKED ? revoked : nullptr, from, until);
  OCSP_basic_sign(basic, issuer.certificate.get(), issuer.key.get(), EVP_sha256(), nullptr, 0);
  OCSP_RESPONSE* const response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
  unsigned char* bytes = nullptr;
  const int size = i2d_OCSP_RESPONSE(response, &bytes);
  std::string der(reinterpret_cast<char*>(bytes), static_cast<std::size_t>(size));
  OPENSSL_free(bytes);
  OCSP_RESPONSE_free(response);
  OCSP_BASICRESP_free(basic);
  OCSP_CERTID_free(id);
  for (ASN1_TIME* const time : {revoked, from, until}) ASN1_TIME_free(time);
  return der;
}

inline void write_file(const std::string& name, const std::string& bytes) {
  std::ofstream(name, std::ios::binary | std::ios::trunc) << bytes;
}

}  // namespace pagewire::test
