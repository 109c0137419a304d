// What a network interface can do by itself, by ethtool's ioctl (netdevice(7), ethtool(8)): driver,
// features, rings, channels. None of the questions needs a privilege.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pagewire::sys {

struct CardFeature {
  std::string name;  ///< the kernel's: "tx-scatter-gather", "tls-hw-tx-offload"
  bool on = false;
  bool fixed = false;  ///< nobody can change it
};

struct RingSizes {
  std::uint32_t receive = 0;
  std::uint32_t receive_max = 0;
  std::uint32_t transmit = 0;
  std::uint32_t transmit_max = 0;
};

struct Channels {
  std::uint32_t transmit = 0;  ///< combined ones included
  /// Combined queues and separate ones are two ways of using the same hardware: the larger maximum.
  std::uint32_t transmit_max = 0;
  bool combined = false;  ///< it can have combined ones
};

/// What the driver does not tell is absent.
struct NetworkCard {
  std::string driver;  ///< "" for lo
  std::vector<CardFeature> features{};
  std::optional<RingSizes> rings;
  std::optional<Channels> channels;

  const CardFeature* feature(std::string_view name) const;  ///< nullptr: not told
};

/// Errors: ENODEV (no such interface in this network namespace), ENAMETOOLONG, EMFILE.
Result<NetworkCard> ask_network_card(const std::string& interface);

/// Names of the interfaces that are up and have a carrier, those that the kernel lists first first.
/// Errors: EMFILE, ENOMEM.
Result<std::vector<std::string>> interfaces_that_are_up();

/// Whether any interface of this network namespace, up or not, has that feature on. Errors: some
/// interface did not answer (a driver's own; EPERM, of a seccomp filter), or which there are is not
/// told (EMFILE, ENOMEM; EAFNOSUPPORT, of a service without AF_NETLINK). One that has just gone
/// (ENODEV) or has no ethtool (EOPNOTSUPP) has it not.
Result<bool> any_interface_has(std::string_view feature);

}  // namespace pagewire::sys
