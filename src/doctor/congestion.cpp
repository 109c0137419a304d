// congestion: BBR paces, and pacing without the fq qdisc takes a timer of each connection's own.
#include <fmt/format.h>

#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

/// Where BBR finds no fq, and the command that puts it there.
struct Unpaced {
  std::string interfaces;
  std::string commands;
};
Unpaced without_fq(const Examination& examination, const std::string& usual) {
  Unpaced found;
  for (const Interface& interface : examination.interfaces) {
    const std::string& here = interface.queueing;
    // "noqueue" is lo's and veth's, who hand on at once; "mq" has the usual one for each queue.
    if (here.empty() || here == "noqueue" || here == "fq") continue;
    if (here == "mq" && (usual == "fq" || usual.empty())) continue;
    found.interfaces += fmt::format("{}{}: {}{}", found.interfaces.empty() ? "" : ", ",
                                    interface.name, here, here == "mq" ? " of " + usual : "");
    // mq anew takes the usual one for its queues; fq in its place would be one queue for all CPUs.
    found.commands += fmt::format(" && tc qdisc replace dev {} root {}", interface.name,
                                  here == "mq" ? "mq" : "fq");
  }
  return found;
}

Finding run(Examination& examination) {
  constexpr std::string_view looked_at =
      "net.ipv4.tcp_congestion_control, net.core.default_qdisc, the interfaces' qdiscs";
  const std::string file = "/proc/sys/net/ipv4/tcp_congestion_control";
  const std::string algorithm = first_line(examination, file);
  // Of the first network namespace alone: in others the file is not there.
  const std::string usual = first_line(examination, "/proc/sys/net/core/default_qdisc");
  if (algorithm.empty()) return unread(looked_at, examination.system_root + file);
  Finding finding{.looked_at = std::string(looked_at), .found = algorithm};
  finding.found += usual.empty() ? "; the default qdisc is not told here" : ", " + usual;
  if (!algorithm.starts_with("bbr")) return finding;
  const Unpaced unpaced = without_fq(examination, usual);
  if (unpaced.interfaces.empty()) return finding;
  finding.found += "; " + unpaced.interfaces;
  finding.status = Status::Warning;
  finding.costs =
      "BBR wakes up for each 64 KiB by a timer: five times the CPU of a 6 MiB answer "
      "was seen on loopback (where serve takes reno by itself)";
  finding.mend = "sysctl -w net.core.default_qdisc=fq" + unpaced.commands;
  return finding;
}

}  // namespace

const Check congestion_check{.group = Group::Kernel, .name = "congestion", .run = run};

}  // namespace pagewire::doctor
