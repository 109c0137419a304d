#include "tls/ciphers.h"

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace pagewire::tls {

bool cpu_has_aes() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("aes") != 0 && __builtin_cpu_supports("pclmul") != 0;
#elif defined(__aarch64__)
  constexpr unsigned long both = HWCAP_AES | HWCAP_PMULL;
  return (::getauxval(AT_HWCAP) & both) == both;
#else
  return false;
#endif
}

CipherOrder cipher_order(bool fast_aes) {
  const std::string aes13 = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
  const std::string chacha13 = "TLS_CHACHA20_POLY1305_SHA256";
  const std::string aes12 =
      "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
      "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
  const std::string chacha12 = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
  if (fast_aes) return {.tls13 = aes13 + ":" + chacha13, .tls12 = aes12 + ":" + chacha12};
  return {.tls13 = chacha13 + ":" + aes13, .tls12 = chacha12 + ":" + aes12};
}

}  // namespace pagewire::tls
