// driver: what kind of interface it is, and what of a card cannot be seen through it.
#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

Finding run(Examination& examination) {
  Finding finding{.looked_at = "ethtool: driver", .found = examination.card.driver};
  if (examination.interface == "lo") {
    finding.found =
        "loopback: no card. Zero-copy sends are copied, the receiver's work is charged "
        "to the sender, no limit of a link shows";
  } else if (examination.card.driver == "veth") {
    finding.found =
        "veth: no card. Zero-copy sends are copied; scatter-gather, TSO and queues are "
        "those of the interface behind it, which doctor must be asked on the host";
  } else if (finding.found.empty()) {
    finding.found = "none told";
  }
  if (!is_device(examination) && examination.interface != "lo" &&
      examination.card.driver != "veth") {
    finding.found +=
        ": no card (a bridge, tunnel or tap); what it sends goes on through another, "
        "or to a program";
  }
  return finding;
}

}  // namespace

const Check net_driver_check{.group = Group::Network, .name = "driver", .run = run};

}  // namespace pagewire::doctor
