// checksum: without the card's, the CPU adds up every byte. What sendfile or splice lent, it copies
// first, so that the sum stays true if the file is written to (skb_checksum_help of the kernel).
#include <algorithm>

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
  const bool is_card = is_device(examination);
  finding.found = on      ? (is_card ? "the card's" : "left to the device behind it, or to nobody")
                  : fixed ? "not in this card or driver"
                          : "off";
  if (on) return finding;
  const bool is_known = std::ranges::find(examination.bare_interfaces, examination.interface) !=
                        examination.bare_interfaces.end();
  if (!is_known) examination.bare_interfaces.push_back(examination.interface);
  finding.status = is_card || examination.card.driver == "veth" ? Status::Failed : Status::Warning;
  finding.costs = "the CPU adds up every byte, and copies what sendfile and splice hand over first";
  finding.estimate = examination.measured.copies(one_copy);
  finding.mend =
      fixed ? "another card or driver" : "ethtool -K " + examination.interface + " tx on";
  return finding;
}

}  // namespace

const Check net_checksum_check{
    .group = Group::Network, .name = "checksum", .run = run, .of_a_card = true};

}  // namespace pagewire::doctor
