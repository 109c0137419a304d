// kernel-tls: TCP_ULP "tls" and each cipher, for TLS 1.2 and 1.3, set on a connection for real.
//
// Without CAP_NET_ADMIN, because the kernel loads the module for whoever has it (tcp_ulp.c), and
// doctor changes nothing. A cipher's own module it may load for anybody.
#include "sys/kernel_tls.h"

#include <fmt/format.h>

#include <array>
#include <set>

#include "doctor/registry.h"
#include "sys/capabilities.h"
#include "sys/socket.h"

namespace pagewire::doctor {

namespace {

constexpr std::string_view looked_at =
    "TCP_ULP \"tls\" and each cipher on a connection over loopback";

#if defined(__x86_64__)
constexpr std::string_view cipher_modules = "gcm aesni_intel chacha20poly1305";
#elif defined(__aarch64__)
constexpr std::string_view cipher_modules = "gcm aes_ce_blk ghash_ce chacha20poly1305";
#else
constexpr std::string_view cipher_modules = "gcm aes chacha20poly1305";
#endif

struct Cipher {
  std::string_view name;
  sys::TlsCipher cipher;
  std::size_t key_bytes;
};
constexpr std::array ciphers{
    Cipher{"AES-128-GCM", sys::TlsCipher::Aes128Gcm, 16},
    Cipher{"AES-256-GCM", sys::TlsCipher::Aes256Gcm, 32},
    Cipher{"ChaCha20-Poly1305", sys::TlsCipher::ChaCha20Poly1305, 32},
};

Result<void> attempt(const Cipher& cipher, bool tls13) {
  const Result<sys::SocketPair> pair = sys::tcp_pair_over_loopback();
  if (!pair) return tl::unexpected(pair.error());
  if (const Result<void> attached = sys::attach_tls(pair->sender.get()); !attached) return attached;
  const std::array<unsigned char, 32> key{7};
  return sys::start_tls_transmit(
      pair->sender.get(),
      {.tls13 = tls13, .cipher = cipher.cipher, .key = std::span(key).first(cipher.key_bytes)});
}

Finding none_at_all(Examination& examination, const sys::KernelTls& found) {
  const bool is_module = found.reason == "module-not-loaded";
  const bool unknown_config = !examination.config;
  Finding finding{.looked_at = std::string(looked_at)};
  finding.found = is_module ? "the module tls is not loaded (a serve that root starts loads it)"
                            : "not in this kernel: TCP_ULP \"tls\" says ENOENT";
  if (!is_module) {
    finding.found += unknown_config ? " (its configuration cannot be read; it may be a module)"
                                    : ", CONFIG_TLS is not set";
  }
  finding.status = examination.settings.tls ? Status::Failed : Status::Warning;
  finding.costs = "HTTPS is encrypted in user space: every byte is copied there and back";
  finding.estimate = examination.measured.copies(tls_copies);
  finding.mend = is_module || unknown_config
                     ? "modprobe tls && echo tls > /etc/modules-load.d/tls.conf"
                     : "boot a kernel with CONFIG_TLS=m (Debian's linux-image-amd64 has it), then "
                       "modprobe tls";
  return finding;
}

Finding run(Examination& examination) {
  if (const Result<sys::SocketPair> pair = sys::tcp_pair_over_loopback(); !pair) {
    return {.looked_at = std::string(looked_at),
            .found = {},
            .status = Status::Unknown,
            .reason = describe(pair.error())};
  }
  const sys::WithoutCapability nothing_is_loaded(sys::Capability::NetAdmin);
  const sys::KernelTls found = sys::probe_kernel_tls();
  if (!found.available) return none_at_all(examination, found);
  examination.kernel_rekeys = found.rekeys;
  std::string works;
  std::string fails;
  std::set<std::string> reasons;  // ENOENT: there is no such cipher here; EINVAL: nor in this TLS
  for (const Cipher& cipher : ciphers) {
    for (const bool tls13 : {true, false}) {
      const Result<void> done = attempt(cipher, tls13);
      std::string& list = done ? works : fails;
      list += fmt::format("{}{} {}", list.empty() ? "" : ", ", cipher.name, tls13 ? "1.3" : "1.2");
      if (!done) reasons.insert(errno_text(done.error().errno_value));
      if (cipher.cipher == sys::TlsCipher::Aes128Gcm && tls13)
        examination.kernel_tls = done.has_value();
    }
  }
  Finding finding{.looked_at = std::string(looked_at), .found = works};
  if (fails.empty()) return finding;
  finding.found =
      works.empty() ? "the module is there, and no cipher works" : works + "; not " + fails;
  finding.found += fmt::format(": {}", fmt::join(reasons, ", "));
  finding.status = examination.kernel_tls     ? Status::Warning
                   : examination.settings.tls ? Status::Failed
                                              : Status::Warning;
  finding.costs = "connections of these ciphers are encrypted in user space";
  finding.estimate = examination.measured.copies(tls_copies);
  finding.mend = fmt::format("modprobe -a {}", cipher_modules);
  return finding;
}

}  // namespace

const Check kernel_tls_check{.group = Group::Kernel, .name = "kernel-tls", .run = run};

}  // namespace pagewire::doctor
