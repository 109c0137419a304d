#include "sys/netlink.h"

#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <utility>

namespace pagewire::sys {

namespace {

/// A message under way: the header and what stands behind it.
struct Message {
  alignas(nlmsghdr) std::array<char, 1024> buffer{};
  nlmsghdr& header;

  Message(std::uint16_t type, std::uint16_t flags) : header(*mnl_nlmsg_put_header(buffer.data())) {
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
  }
  Message(const Message&) = delete;

  template <class T>
  T& put() {
    return *static_cast<T*>(mnl_nlmsg_put_extra_header(&header, sizeof(T)));
  }
};

constexpr std::uint16_t make_it = NLM_F_CREATE | NLM_F_EXCL;

// netdevice(7): any socket will do, and says what its own namespace has.
Result<ifreq> ask_interface(const mnl_socket* socket, unsigned long what,
                            const std::string& interface) {
  ifreq request{};
  if (interface.size() >= sizeof request.ifr_name) return failure("interface", ENODEV);
  std::copy(interface.begin(), interface.end(), request.ifr_name);
  if (::ioctl(::mnl_socket_get_fd(socket), what, &request) != 0)
    return last_error("ioctl(SIOCGIF)");
  return request;
}

int look_for_operational_state(const nlattr* attribute, void* into) {
  if (::mnl_attr_get_type(attribute) == IFLA_OPERSTATE) {
    *static_cast<bool*>(into) = ::mnl_attr_get_u8(attribute) == IF_OPER_UP;
  }
  return MNL_CB_OK;
}

int take_operational_state(const nlmsghdr* answer, void* into) {
  return ::mnl_attr_parse(answer, sizeof(ifinfomsg), look_for_operational_state, into);
}

int look_for_queueing(const nlattr* attribute, void* into) {
  if (::mnl_attr_get_type(attribute) == IFLA_QDISC) {
    *static_cast<std::string*>(into) = ::mnl_attr_get_str(attribute);
  }
  return MNL_CB_OK;
}

int take_queueing(const nlmsghdr* answer, void* into) {
  return ::mnl_attr_parse(answer, sizeof(ifinfomsg), look_for_queueing, into);
}

}  // namespace

Result<Netlink> Netlink::open() {
  mnl_socket* const socket = ::mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
  if (socket == nullptr) return last_error("socket(AF_NETLINK)");
  Netlink netlink(socket);
  if (::mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) != 0) return last_error("bind(AF_NETLINK)");
  return netlink;
}

Netlink::Netlink(Netlink&& other) noexcept
    : socket_(std::exchange(other.socket_, nullptr)), sequence_(other.sequence_) {}

Netlink::~Netlink() {
  if (socket_ != nullptr) ::mnl_socket_close(socket_);
}

Result<void> Netlink::add_veth(const VethPair& pair) {
  Message message(RTM_NEWLINK, make_it);
  message.put<ifinfomsg>().ifi_family = AF_UNSPEC;
  nlmsghdr* const header = &message.header;
  ::mnl_attr_put_strz(header, IFLA_IFNAME, pair.here.c_str());
  nlattr* const info = ::mnl_attr_nest_start(header, IFLA_LINKINFO);
  ::mnl_attr_put_str(header, IFLA_INFO_KIND, "veth");
  nlattr* const data = ::mnl_attr_nest_start(header, IFLA_INFO_DATA);
  nlattr* const peer = ::mnl_attr_nest_start(header, VETH_INFO_PEER);
  message.put<ifinfomsg>().ifi_family = AF_UNSPEC;
  ::mnl_attr_put_strz(header, IFLA_IFNAME, pair.there.c_str());
  ::mnl_attr_put_u32(header, IFLA_NET_NS_FD, static_cast<std::uint32_t>(pair.there_namespace));
  ::mnl_attr_nest_end(header, peer);
  ::mnl_attr_nest_end(header, data);
  ::mnl_attr_nest_end(header, info);
  return ask(message.header, "RTM_NEWLINK");
}

Result<void> Netlink::set_up(const std::string& interface) {
  const Result<ifreq> found = ask_interface(socket_, SIOCGIFINDEX, interface);
  if (!found) return tl::unexpected(found.error());
  Message message(RTM_NEWLINK, 0);
  auto& link = message.put<ifinfomsg>();
  link.ifi_family = AF_UNSPEC;
  link.ifi_index = found->ifr_ifindex;
  link.ifi_flags = IFF_UP;
  link.ifi_change = IFF_UP;
  return ask(message.header, "RTM_NEWLINK");
}

Result<void> Netlink::add_address(const InterfaceAddress& address) {
  const Result<ifreq> found = ask_interface(socket_, SIOCGIFINDEX, address.interface);
  if (!found) return tl::unexpected(found.error());
  Message message(RTM_NEWADDR, make_it);
  auto& header = message.put<ifaddrmsg>();
  header.ifa_family = AF_INET;
  header.ifa_prefixlen = address.prefix_bits;
  header.ifa_scope = RT_SCOPE_UNIVERSE;
  header.ifa_index = static_cast<std::uint32_t>(found->ifr_ifindex);
  ::mnl_attr_put_u32(&message.header, IFA_LOCAL, address.address.s_addr);
  ::mnl_attr_put_u32(&message.header, IFA_ADDRESS, address.address.s_addr);
  return ask(message.header, "RTM_NEWADDR");
}

Result<bool> Netlink::is_operational(const std::string& interface) {
  bool is_up = false;
  return ask_link(interface, take_operational_state, &is_up).map([&] { return is_up; });
}

Result<std::string> Netlink::queueing_of(const std::string& interface) {
  std::string discipline;
  return ask_link(interface, take_queueing, &discipline).map([&] { return discipline; });
}

Result<void> Netlink::ask_link(const std::string& interface, int (*take)(const nlmsghdr*, void*),
                               void* into) {
  const Result<ifreq> found = ask_interface(socket_, SIOCGIFINDEX, interface);
  if (!found) return tl::unexpected(found.error());
  Message message(RTM_GETLINK, 0);
  message.header.nlmsg_flags = NLM_F_REQUEST;  // its answer is the acknowledgement
  auto& link = message.put<ifinfomsg>();
  link.ifi_family = AF_UNSPEC;
  link.ifi_index = found->ifr_ifindex;
  return ask(message.header, "RTM_GETLINK", take, into);
}

// NLM_F_ACK: the kernel has done it, or says why not, before this returns.
Result<void> Netlink::ask(nlmsghdr& message, const char* operation,
                          int (*take)(const nlmsghdr*, void*), void* into) {
  message.nlmsg_seq = ++sequence_;
  if (::mnl_socket_sendto(socket_, &message, message.nlmsg_len) < 0) return last_error(operation);
  alignas(nlmsghdr) std::array<char, 8192> answer{};
  const ssize_t n = ::mnl_socket_recvfrom(socket_, answer.data(), answer.size());
  if (n < 0) return last_error(operation);
  const int done = ::mnl_cb_run(answer.data(), static_cast<std::size_t>(n), sequence_,
                                ::mnl_socket_get_portid(socket_), take, into);
  if (done < 0) return last_error(operation);
  return {};
}

}  // namespace pagewire::sys
