// segmentation: with TSO or GSO the kernel handles 64 KiB at a time, without them each packet.
#include <fmt/format.h>

#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

Finding run(Examination& examination) {
  Finding finding{.looked_at =
                      "ethtool: tx-tcp-segmentation, tx-tcp6-segmentation, "
                      "tx-generic-segmentation",
                  .found = {}};
  const sys::CardFeature* const tso = examination.card.feature("tx-tcp-segmentation");
  const sys::CardFeature* const tso6 = examination.card.feature("tx-tcp6-segmentation");
  const sys::CardFeature* const gso = examination.card.feature("tx-generic-segmentation");
  if (tso == nullptr || gso == nullptr) {
    finding.status = Status::Unknown;
    finding.reason = "the interface does not tell its features";
    return finding;
  }
  const auto word = [](const sys::CardFeature* feature) {
    return feature != nullptr && feature->on ? "on" : "off";
  };
  finding.found = fmt::format("TSO {}, for IPv6 {}; GSO {}", word(tso), word(tso6), word(gso));
  const auto could = [](const sys::CardFeature* feature) {
    return feature != nullptr && !feature->on && !feature->fixed;
  };
  // What the card has not the software does late, which is nearly as good.
  if (gso->on && !could(tso) && !could(tso6)) return finding;
  if (tso->on && (tso6 == nullptr || tso6->on)) return finding;
  finding.status = Status::Warning;
  finding.costs = gso->on
                      ? "the CPU cuts 64 KiB into packets, after the most of TCP"
                      : "each packet of 1460 bytes passes through all of TCP: 45 times as often";
  finding.mend = fmt::format("ethtool -K {}{}{}", examination.interface,
                             could(tso) || could(tso6) ? " tso on" : "", gso->on ? "" : " gso on");
  return finding;
}

}  // namespace

const Check net_segmentation_check{
    .group = Group::Network, .name = "segmentation", .run = run, .of_a_card = true};

}  // namespace pagewire::doctor
