// scatter-gather: without it the kernel copies every page into one piece before it sends it.
#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

Finding run(Examination& examination) {
  Finding finding{.looked_at = "ethtool: tx-scatter-gather", .found = {}};
  const sys::CardFeature* const feature = examination.card.feature("tx-scatter-gather");
  if (feature == nullptr) {
    finding.status = Status::Unknown;
    finding.reason = "the interface does not tell its features";
    return finding;
  }
  finding.found = feature->on ? "on" : feature->fixed ? "not in this card or driver" : "off";
  if (feature->on) return finding;
  examination.bare_interfaces.push_back(examination.interface);
  // A tunnel or a bridge is seldom the way that files take.
  finding.status = is_device(examination) || examination.card.driver == "veth" ? Status::Failed
                                                                               : Status::Warning;
  finding.costs = "the kernel copies what sendfile and splice hand over: zero-copy ends here";
  finding.estimate = examination.measured.copies(one_copy);
  finding.mend = feature->fixed ? "another card or driver (in a virtual machine: virtio-net with "
                                  "checksum offload)"
                                : "ethtool -K " + examination.interface + " sg on tx on";
  return finding;
}

}  // namespace

const Check net_scatter_gather_check{
    .group = Group::Network, .name = "scatter-gather", .run = run, .of_a_card = true};

}  // namespace pagewire::doctor
