#include "sys/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <charconv>
#include <cstdio>
#include <cstring>

#include "sys/text_file.h"

namespace pagewire::sys {

namespace {

Result<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return failure("port", EINVAL);
  return port;
}

template <class T>
Address address_from(const T& raw) {
  sockaddr_storage storage{};
  std::memcpy(&storage, &raw, sizeof raw);
  return Address::from_raw(storage, sizeof raw);
}

Address any_address(std::uint16_t port) {
  sockaddr_in6 raw{};
  raw.sin6_family = AF_INET6;
  raw.sin6_addr = in6addr_any;
  raw.sin6_port = htons(port);
  return address_from(raw);
}

Address any_ipv4_address(std::uint16_t port) {
  sockaddr_in raw{};
  raw.sin_family = AF_INET;
  raw.sin_port = htons(port);
  return address_from(raw);
}

}  // namespace

Result<Address> Address::parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  const std::string_view port_text = colon == text.npos ? text : text.substr(colon + 1);
  std::string_view host_text = colon == text.npos ? std::string_view() : text.substr(0, colon);
  const Result<std::uint16_t> port = parse_port(port_text);
  if (!port) return tl::unexpected(port.error());
  if (host_text.empty() || host_text == "*") return any_address(*port);
  const bool bracketed =
      host_text.size() > 2 && host_text.front() == '[' && host_text.back() == ']';
  const std::string host(bracketed ? host_text.substr(1, host_text.size() - 2) : host_text);
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(*port);
  if (!bracketed && ::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) return address_from(v4);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(*port);
  if (bracketed && ::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) return address_from(v6);
  return failure("address", EINVAL);
}

Address Address::from_raw(const sockaddr_storage& raw, socklen_t size) {
  Address address;
  address.size_ = std::min<socklen_t>(size, sizeof address.raw_);
  std::memcpy(address.raw_.data(), &raw, address.size_);
  return address;
}

bool Address::is_any_ipv6() const {
  if (size_ == 0 || raw()->sa_family != AF_INET6) return false;
  sockaddr_in6 v6{};
  std::memcpy(&v6, raw_.data(), sizeof v6);
  return IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr);
}

bool Address::is_loopback() const {
  if (size_ == 0) return false;
  constexpr std::uint8_t loopback_net = 127;
  if (raw()->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, raw_.data(), sizeof v4);
    return ntohl(v4.sin_addr.s_addr) >> 24U == loopback_net;
  }
  sockaddr_in6 v6{};
  std::memcpy(&v6, raw_.data(), sizeof v6);
  const bool mapped = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr);
  return mapped ? v6.sin6_addr.s6_addr[12] == loopback_net : IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

std::uint16_t Address::port() const {
  // sin_port and sin6_port are at the same place in both structures.
  sockaddr_in v4{};
  std::memcpy(&v4, raw_.data(), sizeof v4);
  return ntohs(v4.sin_port);
}

Address Address::without_port() const {
  Address same = *this;
  sockaddr_in v4{};
  std::memcpy(&v4, raw_.data(), sizeof v4);
  v4.sin_port = 0;
  std::memcpy(same.raw_.data(), &v4, offsetof(sockaddr_in, sin_addr));
  return same;
}

std::string_view Address::host(std::array<char, 64>& into) const {
  if (size_ == 0) return "-";
  const char* text = nullptr;
  constexpr socklen_t room = 64;
  if (raw()->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, raw_.data(), sizeof v4);
    text = ::inet_ntop(AF_INET, &v4.sin_addr, into.data(), room);
  } else {
    sockaddr_in6 v6{};
    std::memcpy(&v6, raw_.data(), sizeof v6);
    const void* mapped = &v6.sin6_addr.s6_addr[12];
    text = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)
               ? ::inet_ntop(AF_INET, mapped, into.data(), room)
               : ::inet_ntop(AF_INET6, &v6.sin6_addr, into.data(), room);
  }
  return text == nullptr ? "-" : text;
}

std::string Address::to_string() const {
  std::array<char, 64> buffer;
  const std::string_view text = host(buffer);
  const bool v6 = text.find(':') != text.npos;
  return (v6 ? "[" + std::string(text) + "]" : std::string(text)) + ":" + std::to_string(port());
}

Result<Fd> listen_on(const Address& address, const ListenOptions& options) {
  const int family = address.raw()->sa_family;
  Fd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  // EAFNOSUPPORT: no IPv6 in this kernel; "every interface" then means every IPv4 one.
  const bool every_ipv4 = !fd.is_open() && errno == EAFNOSUPPORT && address.is_any_ipv6();
  if (every_ipv4) return listen_on(any_ipv4_address(address.port()), options);
  if (!fd.is_open()) return last_error("socket");
  const int on = 1;
  const int off = 0;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (options.reuse_port && ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
    return last_error("setsockopt(SO_REUSEPORT)");
  }
  if (family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (::bind(fd.get(), address.raw(), address.raw_size()) != 0) return last_error("bind");
  // A second listener on the port fails only here when both set SO_REUSEADDR but not SO_REUSEPORT.
  if (::listen(fd.get(), options.backlog) != 0) return last_error("listen");
  return fd;
}

Result<Address> local_address(int fd) {
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&raw), &size) != 0) {
    return last_error("getsockname");
  }
  return Address::from_raw(raw, size);
}

Result<Address> peer_address(int fd) {
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&raw), &size) != 0) {
    return last_error("getpeername");
  }
  return Address::from_raw(raw, size);
}

Result<Accepted> accept_from(int listener_fd) {
  for (;;) {
    sockaddr_storage raw{};
    socklen_t size = sizeof raw;
    const int fd = ::accept4(listener_fd, reinterpret_cast<sockaddr*>(&raw), &size,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) return Accepted{Fd(fd), Address::from_raw(raw, size)};
    if (errno != EINTR && !concerns_one_connection(errno)) return last_error("accept4");
  }
}

bool concerns_one_connection(int errno_value) {
  switch (errno_value) {
    case ECONNABORTED:  // the peer reset before we came
    case EPROTO:  // the network errors that Linux passes on from the new connection (accept(2))
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
      return true;
    default:
      return false;
  }
}

Result<SocketPair> tcp_pair_over_loopback() {
  const Result<Fd> listener =
      listen_on(*Address::parse("127.0.0.1:0"), {.reuse_port = false, .backlog = 1});
  if (!listener) return tl::unexpected(listener.error());
  const Result<Address> at = local_address(listener->get());
  if (!at) return tl::unexpected(at.error());
  SocketPair pair;
  pair.receiver = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!pair.receiver.is_open()) return last_error("socket");
  // Blocking, and yet at once: over loopback the handshake is done within the call.
  if (::connect(pair.receiver.get(), at->raw(), at->raw_size()) != 0) return last_error("connect");
  Result<Accepted> accepted = accept_from(listener->get());
  if (!accepted) return tl::unexpected(accepted.error());
  const Result<Address> ours = local_address(pair.receiver.get());
  if (!ours) return tl::unexpected(ours.error());
  if (ours->to_string() != accepted->peer.to_string()) return failure("accept4", EPROTO);
  if (::fcntl(pair.receiver.get(), F_SETFL, O_NONBLOCK) != 0) return last_error("fcntl");
  pair.sender = std::move(accepted->fd);
  return pair;
}

namespace {

/// An IPv4-mapped address (a client of a listener for both families) as the IPv4 one that it is.
Address unmapped(const Address& address) {
  if (address.raw()->sa_family != AF_INET6) return address;
  sockaddr_in6 v6{};
  std::memcpy(&v6, address.raw(), sizeof v6);
  if (!IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) return address;
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = v6.sin6_port;
  std::memcpy(&v4.sin_addr, &v6.sin6_addr.s6_addr[12], sizeof v4.sin_addr);
  return address_from(v4);
}

/// What connect(2) needs to come from an address that is not this machine's.
Result<void> take_source(int fd, const Address& source) {
  const int on = 1;
  const bool v6 = source.raw()->sa_family == AF_INET6;
  const int set = v6 ? ::setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof on)
                     : ::setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on);
  if (set != 0) return last_error("setsockopt(IP_TRANSPARENT)");
  // The port is chosen by connect(2), which knows the peer: many connections may share one.
  ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (::bind(fd, source.raw(), source.raw_size()) != 0) return last_error("bind");
  return {};
}

}  // namespace

Result<Fd> connect_to(const Address& address, const ConnectOptions& options) {
  Fd fd(::socket(address.raw()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.is_open()) return last_error("socket");
  if (options.source != nullptr) {
    const bool v4 = address.raw()->sa_family == AF_INET;
    const Address source = v4 ? unmapped(*options.source) : *options.source;
    if (Result<void> taken = take_source(fd.get(), source); !taken) {
      return tl::unexpected(taken.error());
    }
  }
  // EINPROGRESS is the rule; EINTR: the connection goes on being opened (connect(2)).
  if (::connect(fd.get(), address.raw(), address.raw_size()) != 0 && errno != EINPROGRESS &&
      errno != EINTR) {
    return last_error("connect");
  }
  return fd;
}

Result<void> set_keep_alive(int fd, const KeepAlive& times) {
  const int on = 1;
  if (::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) != 0 ||
      ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &times.idle_s, sizeof times.idle_s) != 0 ||
      ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &times.interval_s, sizeof times.interval_s) !=
          0 ||
      ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times.probes, sizeof times.probes) != 0) {
    return last_error("setsockopt(SO_KEEPALIVE)");
  }
  return {};
}

Result<void> set_no_delay(int fd) {
  const int on = 1;
  if (::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
    return last_error("setsockopt(TCP_NODELAY)");
  }
  return {};
}

void push_queued(int fd) {
  // Fails only on a socket that has gone, which whoever sends next is told.
  static_cast<void>(set_no_delay(fd));
}

Result<void> limit_unsent(int fd, ByteCount limit) {
  const auto value = static_cast<unsigned>(limit.value);
  if (::setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, sizeof value) != 0) {
    return last_error("setsockopt(TCP_NOTSENT_LOWAT)");
  }
  return {};
}

Result<void> set_user_timeout(int fd, unsigned at_most_ms) {
  if (::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &at_most_ms, sizeof at_most_ms) != 0) {
    return last_error("setsockopt(TCP_USER_TIMEOUT)");
  }
  return {};
}

void set_receive_low_water(int fd, std::size_t bytes) {
  const auto value = static_cast<int>(bytes);
  ::setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value);
}

bool is_own_address(const Address& address) {
  std::array<char, 64> its;
  const std::string_view host = address.host(its);
  if (address.is_loopback() || host == "::" || host == "0.0.0.0") return true;
  // Not by bind(2), to which net.ipv4.ip_nonlocal_bind makes every address ours. A connect of UDP
  // sends nothing; it looks up the route, whose source is the address itself where that is ours.
  const Fd fd(::socket(address.raw()->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  // ENETUNREACH, EHOSTUNREACH: there is no way to it.
  if (!fd.is_open() || ::connect(fd.get(), address.raw(), address.raw_size()) != 0) return false;
  const Result<Address> source = local_address(fd.get());
  std::array<char, 64> ours;
  return source && source->host(ours) == host;
}

bool may_be_given_to_connect(std::uint16_t port) {
  const Result<std::string> range = read_text("/proc/sys/net/ipv4/ip_local_port_range");
  unsigned lowest = 0;
  unsigned highest = 0;
  // ENOENT, EACCES: no /proc here, so any may.
  if (!range || std::sscanf(range->c_str(), "%u %u", &lowest, &highest) != 2) return true;
  return lowest <= port && port <= highest;
}

bool is_connected_to_itself(int fd, const Address& peer) {
  const Result<Address> ours = local_address(fd);
  std::array<char, 64> here;
  std::array<char, 64> there;
  return ours && ours->port() == peer.port() && ours->host(here) == peer.host(there);
}

Result<ByteCount> send_buffer(int fd) {
  int bytes = 0;
  socklen_t size = sizeof bytes;
  if (::getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &size) != 0) {
    return last_error("getsockopt(SO_SNDBUF)");
  }
  return ByteCount{static_cast<std::uint64_t>(bytes)};
}

Result<ByteCount> unacknowledged(int fd) {
  int waiting = 0;
  if (::ioctl(fd, SIOCOUTQ, &waiting) != 0) return last_error("ioctl(SIOCOUTQ)");
  return ByteCount{static_cast<std::uint64_t>(waiting)};
}

bool is_writable(int fd) {
  pollfd asked{.fd = fd, .events = POLLOUT, .revents = 0};
  return ::poll(&asked, 1, 0) != 0;  // EINTR, ENOMEM: a send will tell
}

void finish_sending(int fd) {
  // ENOTCONN: the peer has reset already; the loop reports that by itself.
  static_cast<void>(::shutdown(fd, SHUT_WR));
}

Result<ByteCount> send_some(int fd, std::string_view bytes) {
  for (;;) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) return ByteCount{static_cast<std::uint64_t>(n)};
    if (errno != EINTR) return last_error("send");
  }
}

void reset_now(int fd) {
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  // Fails on a socket that has been reset before; there is nothing more to do then.
  static_cast<void>(::connect(fd, &nobody, sizeof nobody));
  // The kernel leaves ECONNRESET behind; fetched, it is no news for whoever polls the socket.
  static_cast<void>(take_error(fd));
}

int take_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

Result<void> keep_urgent_inline(int fd) {
  const int on = 1;
  if (::setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on) != 0) {
    return last_error("setsockopt(SO_OOBINLINE)");
  }
  return {};
}

void abort_on_close(int fd) {
  const linger reset{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

void finish_on_close(int fd) {
  const linger none{.l_onoff = 0, .l_linger = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

}  // namespace pagewire::sys
