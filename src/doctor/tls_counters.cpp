// tls-counters: what the kernel has counted of its TLS (/proc/net/tls_stat, Linux 5.5).
#include <fmt/format.h>

#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

constexpr std::string_view file = "/proc/net/tls_stat";

// Runs before "kernel-tls", whose connections it would count.
Finding run(Examination& examination) {
  Finding finding{.looked_at = std::string(file), .found = {}};
  const Result<std::string> text = sys::read_text(examination.system_root + std::string(file));
  if (!text) {
    // ENOENT: without the module there is no such file.
    finding.found = examination.kernel < KernelVersion{5, 5} ? "not there: a kernel before 5.5"
                                                             : "not there, as without kernel TLS";
    return finding;
  }
  const auto value = [&](std::string_view name) { return value_of(*text, name).value_or(0); };
  finding.found = fmt::format(
      "{} connections encrypted by the CPU so far, {} by a card ({} and {} now)", value("TlsTxSw"),
      value("TlsTxDevice"), value("TlsCurrTxSw"), value("TlsCurrTxDevice"));
  if (const std::uint64_t errors = value("TlsDecryptError"); errors > 0) {
    finding.found += fmt::format("; {} records could not be decrypted", errors);
  }
  return finding;
}

}  // namespace

const Check tls_counters_check{.group = Group::Kernel, .name = "tls-counters", .run = run};

}  // namespace pagewire::doctor
