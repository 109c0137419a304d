// key-update: kernels before 6.14 cannot change the keys of a kernel TLS connection.
#include <fmt/format.h>

#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

constexpr KernelVersion can_rekey{6, 14};

Finding run(Examination& examination) {
  // Tried where there is kernel TLS: distributions bring such changes to older kernels, too.
  const bool rekeys = examination.kernel_rekeys.value_or(examination.kernel >= can_rekey);
  Finding finding{
      .looked_at = examination.kernel_rekeys ? "a second key on a connection of kernel TLS"
                                             : "the kernel's version (6.14 can change keys)",
      .found =
          fmt::format("{} {} change the keys of kernel TLS",
                      examination.kernel_tls ? "this kernel" : "a kernel of this version with TLS",
                      rekeys ? "can" : "cannot")};
  if (rekeys || !examination.kernel_tls) return finding;
  finding.status = Status::Warning;
  finding.costs = "a client that asks for new keys (KeyUpdate, rare) loses its connection, cleanly";
  finding.mend = "install a kernel of 6.14 or newer";
  return finding;
}

}  // namespace

const Check key_update_check{.group = Group::Kernel, .name = "key-update", .run = run};

}  // namespace pagewire::doctor
