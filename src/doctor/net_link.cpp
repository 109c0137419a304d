// link: speed, MTU and state of an interface (sysfs-class-net of the kernel's ABI documentation).
#include <fmt/format.h>

#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

constexpr std::uint64_t least_mtu = 1280;  // of IPv6; overlay networks have some 1400

/// What an interface lacks that cannot send now.
void warn_of_no_link(Finding& finding, const std::string& interface, bool is_down) {
  finding.status = Status::Warning;
  finding.costs = "nothing can be sent through it";
  finding.mend = is_down
                     ? "ip link set " + interface + " up"
                     : "it is up and has no carrier: look at its cable, or for a bridge, tunnel "
                       "or veth at what it leads to (ip -d link show " +
                           interface + ")";
}

Finding run(Examination& examination) {
  const std::string folder = "/sys/class/net/" + examination.interface + "/";
  const std::string state = first_line(examination, folder + "operstate");
  const std::optional<std::uint64_t> mtu = parse_number(first_line(examination, folder + "mtu"));
  // EINVAL for lo and virtual ones, "-1" for those that do not tell.
  const std::optional<std::uint64_t> speed =
      parse_number(first_line(examination, folder + "speed"));
  if (!mtu) {  // ENOENT: /sys is not that of this network namespace
    return unread("speed, mtu, operstate in sysfs", examination.system_root + folder + "mtu");
  }
  const bool knows_speed = speed && *speed < 0xffffffffU;
  Finding finding{
      .looked_at = "speed, mtu, operstate in sysfs",
      .found = fmt::format("{}, MTU {}, {}",
                           state == "unknown" ? "up (a driver that tells no state)" : state, *mtu,
                           knows_speed ? fmt::format("{} Mbit/s", *speed) : "speed not told")};
  if (examination.interface == "lo") finding.found = fmt::format("MTU {}", *mtu);
  if (state == "down" || state == "lowerlayerdown") {
    // EINVAL: the interface is down. "0": it is up, and has no carrier.
    const std::string carrier = first_line(examination, folder + "carrier");
    warn_of_no_link(finding, examination.interface, carrier.empty());
  } else if (*mtu < least_mtu) {
    finding.status = Status::Warning;
    finding.costs =
        fmt::format("{:.1f} times as many packets as with an MTU of 1500",
                    1460.0 / (static_cast<double>(std::max(*mtu, std::uint64_t{68})) - 40));
    finding.mend = "ip link set " + examination.interface + " mtu 1500";
  }
  return finding;
}

}  // namespace

const Check net_link_check{.group = Group::Network, .name = "link", .run = run};

}  // namespace pagewire::doctor
