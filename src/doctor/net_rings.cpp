// rings: how many packets the card holds; small ones make for pauses and drops under load.
#include <fmt/format.h>

#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

constexpr std::uint32_t small_ring = 256;

Finding run(Examination& examination) {
  Finding finding{.looked_at = "ethtool: ring parameters", .found = {}};
  // Zeros are what drivers without rings say (netdevsim, some of virtual machines).
  if (!examination.card.rings || examination.card.rings->transmit == 0) {
    finding.found = is_device(examination) ? "not told by this driver" : "none: no card";
    return finding;
  }
  const sys::RingSizes rings = *examination.card.rings;
  finding.found = fmt::format("{} to send (at most {}), {} to receive (at most {})", rings.transmit,
                              rings.transmit_max, rings.receive, rings.receive_max);
  if (rings.transmit >= small_ring || rings.transmit_max <= rings.transmit) return finding;
  finding.status = Status::Warning;
  finding.costs = "the queue is stopped and started again more often under load";
  finding.mend = fmt::format("ethtool -G {} tx {}", examination.interface, rings.transmit_max);
  return finding;
}

}  // namespace

const Check net_rings_check{
    .group = Group::Network, .name = "rings", .run = run, .of_a_card = true};

}  // namespace pagewire::doctor
