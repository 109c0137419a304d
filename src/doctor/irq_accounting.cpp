// irq-accounting: whose CPU time softirqs are, which every figure of CPU per Gbit rests on.
#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

Finding run(Examination& examination) {
  Finding finding{.looked_at = "CONFIG_IRQ_TIME_ACCOUNTING", .found = {}};
  if (!examination.config) {
    finding.status = Status::Unknown;
    finding.reason = "neither /proc/config.gz nor /boot/config-RELEASE can be read";
    return finding;
  }
  finding.found = examination.config->value_of("IRQ_TIME_ACCOUNTING") == "y"
                      ? "on: softirq time is kept apart"
                      : "off: softirq time is charged to whoever was interrupted";
  return finding;
}

}  // namespace

const Check irq_accounting_check{.group = Group::Kernel, .name = "irq-accounting", .run = run};

}  // namespace pagewire::doctor
