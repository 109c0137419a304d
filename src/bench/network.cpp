// Network of network.h. A veth pair is made in the client's namespace with its other end in the
// server's, so that the caller's own never sees an interface of it.
//
// The addresses are of 198.18.0.0/15, which is set aside for benchmarks (RFC 2544, RFC 6890): no
// network that somebody uses can be hidden by them, not even inside the namespaces.
#include "bench/network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include <ctime>
#include <string>

#include "sys/netlink.h"

namespace pagewire::bench {

namespace {

constexpr const char* server_interface = "pw-server";
constexpr const char* client_interface = "pw-client";
constexpr const char* server_ip = "198.18.0.1";
constexpr const char* client_ip = "198.18.0.2";
constexpr std::uint8_t prefix_bits = 30;

Result<sys::Fd> current_namespace() {
  // EMFILE; ENOENT: a kernel without CONFIG_NET_NS, or no /proc.
  sys::Fd fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return last_error("open(/proc/thread-self/ns/net)");
  return fd;
}

/// Takes the thread back to where it was made, whatever happened in between.
class WayBack {
 public:
  explicit WayBack(sys::Fd original) : original_(std::move(original)) {}
  WayBack(const WayBack&) = delete;
  ~WayBack() {
    if (original_.is_open()) ::setns(original_.get(), CLONE_NEWNET);
  }
  Result<void> go() {
    const Result<void> gone = enter_namespace(original_);
    original_.close();
    return gone;
  }

 private:
  sys::Fd original_;
};

/// Leaves the thread in a new namespace whose "lo" is up.
Result<sys::Fd> enter_new_namespace() {
  // EPERM: no CAP_SYS_ADMIN. ENOSPC: more than user.max_net_namespaces. ENOMEM.
  if (::unshare(CLONE_NEWNET) != 0) return last_error("unshare(CLONE_NEWNET)");
  Result<sys::Netlink> netlink = sys::Netlink::open();
  if (!netlink) return tl::unexpected(netlink.error());
  const Result<void> up = netlink->set_up("lo");
  if (!up) return tl::unexpected(up.error());
  return current_namespace();
}

struct End {
  const char* interface;
  const char* ip;
};

/// In the thread's namespace, to which what is returned stays tied.
Result<sys::Netlink> raise(const End& end) {
  Result<sys::Netlink> netlink = sys::Netlink::open();
  if (!netlink) return netlink;
  sys::InterfaceAddress address{.interface = end.interface, .prefix_bits = prefix_bits};
  ::inet_pton(AF_INET, end.ip, &address.address);
  Result<void> done = netlink->add_address(address);
  if (done) done = netlink->set_up(end.interface);
  if (!done) return tl::unexpected(done.error());
  return netlink;
}

/// The end that was raised first gets its carrier from the other one, by work that the kernel puts
/// off; until then it drops what is sent, and the first SYN would be sent again after a second.
Result<void> wait_for_carrier(sys::Netlink& netlink, const End& end) {
  constexpr int limit_ms = 5000;  // then TCP has to see to it
  for (int waited_ms = 0; waited_ms < limit_ms; ++waited_ms) {
    const Result<bool> operational = netlink.is_operational(end.interface);
    if (!operational) return tl::unexpected(operational.error());
    if (*operational) return {};
    constexpr timespec interval{.tv_sec = 0, .tv_nsec = 1'000'000};
    ::nanosleep(&interval, nullptr);
  }
  return {};
}

Result<void> join(const sys::Fd& server_namespace) {
  Result<sys::Netlink> netlink = sys::Netlink::open();
  if (!netlink) return tl::unexpected(netlink.error());
  return netlink->add_veth({.here = client_interface,
                            .there = server_interface,
                            .there_namespace = server_namespace.get()});
}

Result<sys::Address> address_with_port_0(const char* ip) {
  return sys::Address::parse(std::string(ip) + ":0");
}

/// Starts in the client's namespace, ends in the server's.
Result<void> connect(const Network& network) {
  constexpr End client{.interface = client_interface, .ip = client_ip};
  constexpr End server{.interface = server_interface, .ip = server_ip};
  const Result<void> joined = join(network.server_namespace);
  if (!joined) return joined;
  Result<sys::Netlink> at_client = raise(client);
  if (!at_client) return tl::unexpected(at_client.error());
  const Result<void> entered = enter_namespace(network.server_namespace);
  if (!entered) return entered;
  Result<sys::Netlink> at_server = raise(server);
  if (!at_server) return tl::unexpected(at_server.error());
  // The server's had its carrier from the start.
  return wait_for_carrier(*at_client, client);
}

Result<Network> make_veth() {
  Result<sys::Fd> original = current_namespace();
  if (!original) return tl::unexpected(original.error());
  WayBack back(std::move(*original));
  Network network;
  network.kind = NetKind::Veth;
  Result<sys::Fd> server = enter_new_namespace();
  if (!server) return tl::unexpected(server.error());
  network.server_namespace = std::move(*server);
  Result<sys::Fd> client = enter_new_namespace();
  if (!client) return tl::unexpected(client.error());
  network.client_namespace = std::move(*client);

  Result<void> done = connect(network);
  if (done) done = back.go();
  if (!done) return tl::unexpected(done.error());
  const Result<sys::Address> address = address_with_port_0(server_ip);
  if (!address) return tl::unexpected(address.error());
  network.server_address = *address;
  return network;
}

}  // namespace

Result<Network> make_network(NetKind kind) {
  switch (kind) {
    case NetKind::Veth:
      return make_veth();
    case NetKind::Loopback:
      break;
  }
  const Result<sys::Address> address = address_with_port_0("127.0.0.1");
  if (!address) return tl::unexpected(address.error());
  return Network{
      .kind = kind, .server_namespace = {}, .client_namespace = {}, .server_address = *address};
}

Result<void> enter_namespace(const sys::Fd& network_namespace) {
  if (!network_namespace.is_open()) return {};
  // EPERM: no CAP_SYS_ADMIN any more. ENOMEM.
  if (::setns(network_namespace.get(), CLONE_NEWNET) != 0) return last_error("setns");
  return {};
}

}  // namespace pagewire::bench
