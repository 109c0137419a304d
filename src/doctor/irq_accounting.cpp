// irq-accounting: whose CPU time softirqs are, which every figure of CPU per Gbit rests on.
#include <fmt/format.h>

#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

/// Why it is off though the kernel was built with it; "": it is on. On x86 it needs a TSC that can
/// be trusted (arch/x86/kernel/tsc.c); one that cannot is no clock source any more.
std::string why_off(const Examination& examination) {
#if defined(__x86_64__)
  const std::string options = " " + first_line(examination, "/proc/cmdline") + " ";
  if (options.find(" tsc=noirqtime ") != options.npos) return "tsc=noirqtime on its command line";
  const std::string clocks =
      first_line(examination, "/sys/devices/system/clocksource/clocksource0/available_clocksource");
  if (!clocks.empty() && clocks.find("tsc") == clocks.npos) return "the TSC cannot be trusted here";
#else
  (void)examination;
#endif
  return {};
}

Finding run(Examination& examination) {
  Finding finding{.looked_at = "CONFIG_IRQ_TIME_ACCOUNTING; on x86 also the TSC", .found = {}};
  if (!examination.config) {
    finding.status = Status::Unknown;
    finding.reason = "neither /proc/config.gz nor /boot/config-RELEASE can be read";
    return finding;
  }
  constexpr std::string_view off = "softirq time is charged to whoever was interrupted";
  if (examination.config->value_of("IRQ_TIME_ACCOUNTING") != "y") {
    finding.found = fmt::format("off: {}", off);
    return finding;
  }
  const std::string why = why_off(examination);
  finding.found = why.empty() ? "on: softirq time is kept apart"
                              : fmt::format("built in, but off ({}): {}", why, off);
  return finding;
}

}  // namespace

const Check irq_accounting_check{.group = Group::Kernel, .name = "irq-accounting", .run = run};

}  // namespace pagewire::doctor
