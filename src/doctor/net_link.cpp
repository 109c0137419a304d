// link: speed, MTU and state of an interface (sysfs).
#include <fmt/format.h>

#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

constexpr std::uint64_t least_mtu = 1280;  // of IPv6; overlay networks have some 1400

Finding run(Examination& examination) {
  const std::string folder = "/sys/class/net/" + examination.interface + "/";
  const std::string state = sys::first_line_of(folder + "operstate");
  const std::optional<std::uint64_t> mtu = parse_number(sys::first_line_of(folder + "mtu"));
  // EINVAL for lo and virtual ones, "-1" for those that do not tell.
  const std::optional<std::uint64_t> speed = parse_number(sys::first_line_of(folder + "speed"));
  if (!mtu) return unread("speed, mtu, operstate in sysfs", folder + "mtu");
  const bool knows_speed = speed && *speed < 0xffffffffU;
  Finding finding{
      .looked_at = "speed, mtu, operstate in sysfs",
      .found = fmt::format("{}, MTU {}, {}", state, *mtu,
                           knows_speed ? fmt::format("{} Mbit/s", *speed) : "speed not told")};
  if (state == "down" || state == "lowerlayerdown") {
    finding.status = Status::Warning;
    finding.costs = "nothing can be sent through it";
    finding.mend = "ip link set " + examination.interface + " up";
  } else if (*mtu < least_mtu) {
    finding.status = Status::Warning;
    finding.costs = fmt::format("{:.1f} times as many packets as with an MTU of 1500",
                                1460.0 / (static_cast<double>(*mtu) - 40));
    finding.mend = "ip link set " + examination.interface + " mtu 1500";
  }
  return finding;
}

}  // namespace

const Check net_link_check{.group = Group::Network, .name = "link", .run = run};

}  // namespace pagewire::doctor
