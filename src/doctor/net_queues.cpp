// queues: how many CPUs can send through the interface without waiting for each other.
#include <fmt/format.h>

#include <algorithm>

#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

Finding run(Examination& examination) {
  Finding finding{.looked_at = "ethtool: channels", .found = {}};
  if (!examination.card.channels) {
    finding.found = is_device(examination) ? "not told by this driver" : "none: no card";
    return finding;
  }
  const sys::Channels channels = *examination.card.channels;
  const std::size_t cpus = examination.measured.cores;
  finding.found = fmt::format("{} to send, at most {}; {} CPUs", channels.transmit,
                              std::max(channels.transmit, channels.transmit_max), cpus);
  if (channels.transmit >= cpus || channels.transmit_max <= channels.transmit) return finding;
  finding.status = Status::Warning;
  finding.costs = "workers wait for each other at the lock of a queue";
  finding.mend = fmt::format("ethtool -L {} {} {}", examination.interface,
                             channels.combined ? "combined" : "tx",
                             std::min<std::size_t>(cpus, channels.transmit_max));
  return finding;
}

}  // namespace

const Check net_queues_check{
    .group = Group::Network, .name = "queues", .run = run, .of_a_card = true};

}  // namespace pagewire::doctor
