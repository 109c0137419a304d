// tls-offload: whether the card encrypts the records of kernel TLS.
#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

Finding run(Examination& examination) {
  Finding finding{.looked_at = "ethtool: tls-hw-tx-offload", .found = {}};
  const sys::CardFeature* const feature = examination.card.feature("tls-hw-tx-offload");
  if (feature == nullptr) {
    finding.found = "not told: the CPU encrypts";
    return finding;
  }
  finding.found = feature->on      ? "on: the card encrypts what kernel TLS sends"
                  : feature->fixed ? "not in this card: the CPU encrypts"
                                   : "off: the CPU encrypts";
  if (feature->on || feature->fixed || !examination.settings.tls) return finding;
  finding.status = Status::Warning;
  finding.costs = "the CPU encrypts what the card could";
  if (const std::optional<double> rate = examination.measured.aes128) {
    finding.estimate = Cost{.low = 125e6 / *rate * 1e3, .high = 125e6 / *rate * 1e3 * 1.3};
  }
  finding.mend = "ethtool -K " + examination.interface + " tls-hw-tx-offload on";
  return finding;
}

}  // namespace

const Check net_tls_offload_check{
    .group = Group::Network, .name = "tls-offload", .run = run, .of_a_card = true};

}  // namespace pagewire::doctor
