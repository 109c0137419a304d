// Interfaces and addresses by rtnetlink(7), as `ip link` and `ip address` do it.
//
// Owns one netlink socket. It belongs to the network namespace that its maker was in when it was
// opened, and stays there wherever the thread goes afterwards (network_namespaces(7)).
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

struct mnl_socket;
struct nlmsghdr;

namespace pagewire::sys {

struct VethPair {
  std::string here;         ///< an interface's name has at most 15 characters
  std::string there;        ///< the other end
  int there_namespace = 0;  ///< a descriptor of the network namespace it is made in
};

struct InterfaceAddress {
  std::string interface;
  in_addr address{};
  std::uint8_t prefix_bits = 0;
};

class Netlink {
 public:
  /// Errors: EMFILE, EPROTONOSUPPORT (a kernel without it).
  static Result<Netlink> open();
  Netlink(Netlink&& other) noexcept;
  Netlink& operator=(Netlink&&) = delete;
  ~Netlink();

  /// Errors of all five: EPERM (no CAP_NET_ADMIN), ENODEV (no such interface).
  /// Also EOPNOTSUPP (no veth in this kernel), EEXIST (a name is taken).
  Result<void> add_veth(const VethPair& pair);
  Result<void> set_up(const std::string& interface);
  Result<void> add_address(const InterfaceAddress& address);
  /// Whether the interface is operational (RFC 2863): it has a carrier, and the kernel's link watch
  /// has opened its queue. What is sent before that is dropped without a word. Newer kernels let
  /// the link watch catch up for whoever asks; older ones take up to a second.
  Result<bool> is_operational(const std::string& interface);
  /// The queueing discipline at the interface's root: "fq", "mq", "noqueue". Needs no privilege.
  Result<std::string> queueing_of(const std::string& interface);

 private:
  explicit Netlink(mnl_socket* socket) : socket_(socket) {}
  /// What the kernel says of the interface, attribute by attribute (see mnl_attr_parse).
  Result<void> ask_link(const std::string& interface, int (*take)(const nlmsghdr*, void*),
                        void* into);
  /// One request, one answer; `take` (see mnl_cb_run) gets what is not an acknowledgement.
  Result<void> ask(nlmsghdr& message, const char* operation,
                   int (*take)(const nlmsghdr*, void*) = nullptr, void* into = nullptr);

  mnl_socket* socket_;
  std::uint32_t sequence_ = 0;
};

}  // namespace pagewire::sys
