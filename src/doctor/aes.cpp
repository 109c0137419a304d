// aes: how quickly OpenSSL encrypts records on one core.
#include <fmt/format.h>

#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

constexpr double slow = 1e9;  // below it the CPU has no instructions for AES

Finding run(Examination& examination) {
  const std::optional<double> aes128 = examination.measured.aes128;
  const std::optional<double> aes256 = examination.measured.aes256;
  Finding finding{.looked_at = "OpenSSL, AES-GCM in records of 16 KiB"};
  if (!aes128 || !aes256) {
    finding.status = Status::Unknown;
    finding.reason = "OpenSSL has no AES-GCM here";
    return finding;
  }
  finding.found = fmt::format(
      "AES-128 {:.2g} GB/s, AES-256 {:.2g} GB/s: {:.0f} and {:.0f} ms of CPU for a Gbit",
      *aes128 / 1e9, *aes256 / 1e9, 125e6 / *aes128 * 1e3, 125e6 / *aes256 * 1e3);
  if (*aes128 >= slow || !examination.settings.tls) return finding;
  finding.status = Status::Warning;
  finding.costs = "encryption outweighs everything else";
  finding.mend = "use a CPU with AES instructions; in a virtual machine, pass them on (host CPU)";
  return finding;
}

}  // namespace

const Check aes_check{.group = Group::Machine, .name = "aes", .run = run};

}  // namespace pagewire::doctor
