#include "tls/ocsp.h"

#include <fmt/format.h>
#include <openssl/ocsp.h>

#include <limits>
#include <string_view>

namespace pagewire::tls {

namespace {

using ResponsePtr = std::unique_ptr<OCSP_RESPONSE, Free<OCSP_RESPONSE_free>>;
using BasicPtr = std::unique_ptr<OCSP_BASICRESP, Free<OCSP_BASICRESP_free>>;

std::time_t time_of(const ASN1_GENERALIZEDTIME& time) {
  std::tm parts{};
  return ASN1_TIME_to_tm(&time, &parts) == 1 ? ::timegm(&parts) : 0;
}

/// The answer about `leaf`, by its serial number: a response answers for few, of one issuer. Null:
/// none.
OCSP_SINGLERESP* answer_about(OCSP_BASICRESP* basic, const X509& leaf) {
  for (int i = 0; i < OCSP_resp_count(basic); ++i) {
    OCSP_SINGLERESP* const single = OCSP_resp_get0(basic, i);
    auto* const id = const_cast<OCSP_CERTID*>(OCSP_SINGLERESP_get0_id(single));
    ASN1_INTEGER* serial = nullptr;
    OCSP_id_get0_info(nullptr, nullptr, nullptr, &serial, id);
    if (ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(&leaf)) == 0) return single;
  }
  return nullptr;
}

BasicPtr parse_basic(std::string_view der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const ResponsePtr response(d2i_OCSP_RESPONSE(nullptr, &at, static_cast<long>(der.size())));
  // "tryLater" and the like have no answer inside.
  if (response == nullptr ||
      OCSP_response_status(response.get()) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
    return nullptr;
  }
  return BasicPtr(OCSP_response_get1_basic(response.get()));
}

}  // namespace

OrText<Staple> parse_staple(const CertificateTexts& texts, const X509& leaf, std::time_t now,
                            std::string& note) {
  const std::string& name = texts.files.ocsp;
  const BasicPtr basic = parse_basic(texts.ocsp);
  ERR_clear_error();
  if (basic == nullptr) {
    return tl::unexpected(fmt::format("{} holds no successful OCSP response in DER", name));
  }
  OCSP_SINGLERESP* const answer = answer_about(basic.get(), leaf);
  if (answer == nullptr) {
    return tl::unexpected(fmt::format("the OCSP response {} is not about the certificate {}", name,
                                      texts.files.chain));
  }
  ASN1_GENERALIZEDTIME* next_update = nullptr;
  const int status = OCSP_single_get0_status(answer, nullptr, nullptr, nullptr, &next_update);
  if (status != V_OCSP_CERTSTATUS_GOOD) {
    note = fmt::format("the OCSP response {} says that {} is {}: it is not stapled", name,
                       texts.files.chain, OCSP_cert_status_str(status));
    return Staple{};
  }
  // Without nextUpdate the authority has newer ones at any time (RFC 6960, 4.2.2.1).
  Staple staple{.der = texts.ocsp, .until = std::numeric_limits<std::time_t>::max()};
  if (next_update != nullptr) staple.until = time_of(*next_update);
  if (staple.until > now) return staple;
  note = fmt::format("the OCSP response {} is stale since {}: it is not stapled", name,
                     show_time(*next_update));
  return Staple{};
}

}  // namespace pagewire::tls
