// What an interface says of itself: driver and offloads, by ethtool's ioctl (netdevice(7)).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace pagewire::sys {

struct Offload {
  std::string name;  ///< as ethtool(8) -k calls it: "tcp-segmentation-offload"
  bool on = false;
};

struct InterfaceInfo {
  std::string driver;             ///< "virtio_net"; "" when it has none, as "lo"
  std::vector<Offload> offloads;  ///< those that decide what sending costs
};

/// Errors: ENODEV (no such interface in this network namespace), ENAMETOOLONG, EMFILE. What the
/// driver does not tell is left out.
Result<InterfaceInfo> describe_interface(const std::string& name);

}  // namespace pagewire::sys
