// syscalls: what the cheapest system call costs, mitigations and filters included.
#include <fmt/format.h>

#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

constexpr double dear_ns = 500;  // page-table isolation and IBRS on an older CPU come to that

/// Those of /sys/devices/system/cpu/vulnerabilities whose mitigation is paid at each entry.
std::string mitigations() {
  std::string list;
  for (const char* name : {"meltdown", "mds", "spectre_v2", "retbleed", "tsa"}) {
    const std::string line =
        sys::first_line_of(std::string("/sys/devices/system/cpu/vulnerabilities/") + name);
    if (!line.starts_with("Mitigation: ")) continue;
    const std::string_view what = std::string_view(line).substr(12);
    list += fmt::format("{}{}: {}", list.empty() ? "" : "; ", name, what.substr(0, what.find(';')));
  }
  return list.empty() ? "none told" : list;
}

Finding run(Examination& examination) {
  constexpr std::string_view looked_at = "getppid(2), many times; mitigations";
  const std::optional<double> cost_ns = examination.measured.syscall_ns;
  Finding finding{
      .looked_at = std::string(looked_at),
      .found = fmt::format("{:.0f} ns; mitigations {}", cost_ns.value_or(0), mitigations())};
  if (cost_ns.value_or(0) < dear_ns) return finding;
  finding.status = Status::Warning;
  finding.costs =
      "paths with fewer calls win sooner here: keep --engine auto, and let bench sweep "
      "find the sizes";
  finding.mend = "pagewire bench sweep --save calibration.json";
  return finding;
}

}  // namespace

const Check syscalls_check{.group = Group::Kernel, .name = "syscalls", .run = run};

}  // namespace pagewire::doctor
