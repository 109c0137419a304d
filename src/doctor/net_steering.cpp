// steering: which CPUs receive (RPS) and send (XPS) on which queue; and the queueing discipline.
#include <fmt/format.h>

#include "doctor/registry.h"
#include "sys/netlink.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

/// CPUs in the masks of all queues of a kind, added up, and the number of queues.
struct Steered {
  std::size_t queues = 0;
  std::size_t cpus = 0;
};
Steered steered(const std::string& interface, std::string_view kind, std::string_view file) {
  constexpr std::size_t most_queues = 1024;
  Steered found;
  for (; found.queues < most_queues; ++found.queues) {
    const std::string folder =
        fmt::format("/sys/class/net/{}/queues/{}-{}/", interface, kind, found.queues);
    if (!sys::read_text(folder + (kind == "rx" ? "rps_flow_cnt" : "tx_timeout"))) break;
    // ENOENT: a device of one queue has no XPS.
    found.cpus += count_cpus_in_mask(sys::first_line_of(folder + std::string(file)));
  }
  return found;
}

std::string queueing(const std::string& interface) {
  Result<sys::Netlink> netlink = sys::Netlink::open();
  if (!netlink) return {};
  return netlink->queueing_of(interface).value_or("");
}

Finding run(Examination& examination) {
  const Steered receive = steered(examination.interface, "rx", "rps_cpus");
  const Steered send = steered(examination.interface, "tx", "xps_cpus");
  const std::string discipline = queueing(examination.interface);
  Finding finding{.looked_at = "rps_cpus and xps_cpus of each queue; the qdisc by netlink",
                  .found = fmt::format("{} receive queues, RPS {}; {} send queues, XPS {}; qdisc "
                                       "{}",
                                       receive.queues, receive.cpus == 0 ? "off" : "on",
                                       send.queues, send.cpus == 0 ? "off" : "on",
                                       discipline.empty() ? "not told" : discipline)};
  const std::size_t cpus = examination.measured.cores;
  if (is_virtual(examination) || receive.cpus > 0 || receive.queues * 2 > cpus) return finding;
  // One or few queues for many CPUs: a few of them do all the work of receiving.
  if (receive.queues >= 4 || cpus <= 2) return finding;
  finding.status = Status::Warning;
  finding.costs = fmt::format("{} of {} CPUs do all of the receiving, acknowledgements included",
                              receive.queues, cpus);
  finding.mend = fmt::format("echo {:x} > /sys/class/net/{}/queues/rx-0/rps_cpus",
                             (1ULL << std::min<std::size_t>(cpus, 32)) - 1, examination.interface);
  return finding;
}

}  // namespace

const Check net_steering_check{.group = Group::Network, .name = "steering", .run = run};

}  // namespace pagewire::doctor
