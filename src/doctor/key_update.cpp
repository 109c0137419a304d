// key-update: kernels before 6.14 cannot change the keys of a kernel TLS connection.
#include <fmt/format.h>

#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

constexpr KernelVersion can_rekey{6, 14};

Finding run(Examination& examination) {
  Finding finding{.looked_at = "the kernel's version (6.14 can change keys)",
                  .found = examination.kernel >= can_rekey
                               ? "this kernel can change the keys of kernel TLS"
                               : "this kernel cannot change the keys of kernel TLS"};
  if (examination.kernel >= can_rekey || !examination.kernel_tls) return finding;
  finding.status = Status::Warning;
  finding.costs = "a client that asks for new keys (KeyUpdate, rare) loses its connection, cleanly";
  finding.mend = "install a kernel of 6.14 or newer";
  return finding;
}

}  // namespace

const Check key_update_check{.group = Group::Kernel, .name = "key-update", .run = run};

}  // namespace pagewire::doctor
