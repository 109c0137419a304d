#include "sys/interface.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "sys/fd.h"

namespace pagewire::sys {

namespace {

struct Question {
  std::uint32_t command;
  const char* name;
};

constexpr std::array questions{
    Question{ETHTOOL_GTXCSUM, "tx-checksumming"},
    Question{ETHTOOL_GRXCSUM, "rx-checksumming"},
    Question{ETHTOOL_GSG, "scatter-gather"},
    Question{ETHTOOL_GTSO, "tcp-segmentation-offload"},
    Question{ETHTOOL_GGSO, "generic-segmentation-offload"},
    Question{ETHTOOL_GGRO, "generic-receive-offload"},
};

/// One interface, and the socket that ioctls need.
class Ethtool {
 public:
  Ethtool(const Fd& socket, const std::string& interface) : socket_(socket) {
    std::copy(interface.begin(), interface.end(), request_.ifr_name);
  }
  bool has_interface() { return ::ioctl(socket_.get(), SIOCGIFINDEX, &request_) == 0; }
  template <class T>
  bool ask(T& about) {
    request_.ifr_data = reinterpret_cast<char*>(&about);
    return ::ioctl(socket_.get(), SIOCETHTOOL, &request_) == 0;
  }
  // EOPNOTSUPP: the driver has no such thing.
  std::optional<std::uint32_t> value(std::uint32_t command) {
    ethtool_value value{.cmd = command, .data = 0};
    if (!ask(value)) return std::nullopt;
    return value.data;
  }

 private:
  const Fd& socket_;
  ifreq request_{};
};

}  // namespace

Result<InterfaceInfo> describe_interface(const std::string& name) {
  if (name.size() >= IFNAMSIZ) return failure("interface", ENAMETOOLONG);
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return last_error("socket");
  Ethtool ethtool(socket, name);
  if (!ethtool.has_interface()) return last_error("ioctl(SIOCGIFINDEX)");
  InterfaceInfo info;
  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  if (ethtool.ask(driver)) info.driver.assign(driver.driver, ::strnlen(driver.driver, 32));
  for (const Question& question : questions) {
    const std::optional<std::uint32_t> value = ethtool.value(question.command);
    if (value) info.offloads.push_back({.name = question.name, .on = *value != 0});
  }
  const std::optional<std::uint32_t> flags = ethtool.value(ETHTOOL_GFLAGS);
  if (flags) {
    info.offloads.push_back({.name = "large-receive-offload", .on = (*flags & ETH_FLAG_LRO) != 0});
  }
  return info;
}

}  // namespace pagewire::sys
