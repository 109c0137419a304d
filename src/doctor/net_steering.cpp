// steering: which CPUs receive (RPS) and send (XPS) on which queue; and the queueing discipline.
//
// Rests on Documentation/networking/scaling.rst.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

/// CPUs in the masks of all queues of a kind, added up, and the number of queues.
struct Steered {
  std::size_t queues = 0;
  std::size_t cpus = 0;
};
Steered steered(const Examination& examination, std::string_view kind, std::string_view file) {
  constexpr std::size_t most_queues = 1024;
  Steered found;
  for (; found.queues < most_queues; ++found.queues) {
    const std::string folder =
        fmt::format("/sys/class/net/{}/queues/{}-{}/", examination.interface, kind, found.queues);
    if (::access((examination.system_root + folder).c_str(), F_OK) != 0) break;
    // ENOENT: a device of one queue has no XPS, a kernel without CONFIG_RPS no RPS.
    found.cpus += count_cpus_in_mask(first_line(examination, folder + std::string(file)));
  }
  return found;
}

std::string queueing_of(const Examination& examination) {
  const auto found =
      std::ranges::find(examination.interfaces, examination.interface, &Interface::name);
  const bool told = found != examination.interfaces.end() && !found->queueing.empty();
  return told ? found->queueing : "not told";
}

/// "0 receive queues" are one of which sysfs says nothing.
std::string text_of(std::string_view kind, const Steered& steered, std::string_view steering) {
  return fmt::format("{} {} queue{}, {} {}", steered.queues, kind, steered.queues == 1 ? "" : "s",
                     steering, steered.cpus == 0 ? "off" : "on");
}

Finding run(Examination& examination) {
  constexpr std::string_view looked_at =
      "rps_cpus and xps_cpus of each queue; the qdisc by netlink";
  const Steered receive = steered(examination, "rx", "rps_cpus");
  const Steered send = steered(examination, "tx", "xps_cpus");
  if (receive.queues == 0 && send.queues == 0) {  // /sys is not that of this network namespace
    return unread(looked_at, fmt::format("{}/sys/class/net/{}/queues/rx-0", examination.system_root,
                                         examination.interface));
  }
  Finding finding{.looked_at = std::string(looked_at),
                  .found = fmt::format("{}; {}; qdisc {}", text_of("receive", receive, "RPS"),
                                       text_of("send", send, "XPS"), queueing_of(examination))};
  const std::size_t cpus = examination.measured.cores;
  const bool is_spread = receive.cpus > 0 || receive.queues * 2 > cpus || receive.queues >= 4;
  if (!is_device(examination) || is_spread || cpus <= 2) return finding;
  finding.status = Status::Warning;
  finding.costs = fmt::format("{} of {} CPUs do{} all of the receiving, acknowledgements included",
                              receive.queues, cpus, receive.queues == 1 ? "es" : "");
  finding.mend =
      fmt::format("for q in /sys/class/net/{}/queues/rx-*; do echo {:x} > $q/rps_cpus; done",
                  examination.interface, (1ULL << std::min<std::size_t>(cpus, 32)) - 1);
  return finding;
}

}  // namespace

const Check net_steering_check{
    .group = Group::Network, .name = "steering", .run = run, .of_a_card = true};

}  // namespace pagewire::doctor
