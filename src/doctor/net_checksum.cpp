// checksum: without the card's, the CPU reads every byte once more; then there is no
// scatter-gather for TCP either.
#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

Finding run(Examination& examination) {
  Finding finding{.looked_at = "ethtool: tx-checksum-ip-generic, tx-checksum-ipv4", .found = {}};
  const sys::CardFeature* const generic = examination.card.feature("tx-checksum-ip-generic");
  const sys::CardFeature* const ipv4 = examination.card.feature("tx-checksum-ipv4");
  if (generic == nullptr && ipv4 == nullptr) {
    finding.status = Status::Unknown;
    finding.reason = "the interface does not tell its features";
    return finding;
  }
  const bool on = (generic != nullptr && generic->on) || (ipv4 != nullptr && ipv4->on);
  const bool fixed = (generic == nullptr || generic->fixed) && (ipv4 == nullptr || ipv4->fixed);
  finding.found = on ? "the card's" : fixed ? "not in this card or driver" : "off";
  if (on) return finding;
  finding.status = Status::Failed;
  finding.costs = "the CPU reads every byte to add it up";
  finding.estimate = examination.measured.copies(one_copy);
  finding.mend =
      fixed ? "another card or driver" : "ethtool -K " + examination.interface + " tx on";
  return finding;
}

}  // namespace

const Check net_checksum_check{.group = Group::Network, .name = "checksum", .run = run};

}  // namespace pagewire::doctor
