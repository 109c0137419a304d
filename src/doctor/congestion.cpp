// congestion: BBR paces, and pacing without the fq qdisc takes a timer of each connection's own.
#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

Finding run(Examination&) {
  constexpr std::string_view looked_at = "net.ipv4.tcp_congestion_control, net.core.default_qdisc";
  const std::string file = "/proc/sys/net/ipv4/tcp_congestion_control";
  const std::string algorithm = sys::first_line_of(file);
  // Of the first network namespace alone: in others the file is not there.
  const std::string discipline = sys::first_line_of("/proc/sys/net/core/default_qdisc");
  if (algorithm.empty()) return unread(looked_at, file);
  Finding finding{.looked_at = std::string(looked_at), .found = algorithm};
  finding.found += discipline.empty() ? "; the default qdisc is not told here" : ", " + discipline;
  if (!algorithm.starts_with("bbr") || discipline == "fq" || discipline.empty()) return finding;
  finding.status = Status::Warning;
  finding.costs =
      "BBR wakes up for each 64 KiB by a timer: five times the CPU of a 6 MiB answer "
      "was seen on loopback (where serve takes reno by itself)";
  finding.mend = "sysctl -w net.core.default_qdisc=fq, and tc qdisc replace dev IFACE root fq";
  return finding;
}

}  // namespace

const Check congestion_check{.group = Group::Kernel, .name = "congestion", .run = run};

}  // namespace pagewire::doctor
