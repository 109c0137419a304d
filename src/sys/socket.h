// TCP sockets: addresses, listeners, accept, options.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/units.h"
#include "sys/fd.h"

namespace pagewire::sys {

/// An IPv4 or IPv6 address with port. A plain value, cheap to copy.
class Address {
 public:
  Address() = default;

  /// "127.0.0.1:80", "[::1]:80", ":80" and "80" (all interfaces: [::], with IPv4 mapped).
  /// Numeric only: nothing is looked up. nullopt-like: an Error of EINVAL for anything else.
  static Result<Address> parse(std::string_view text);
  static Address from_raw(const sockaddr_storage& raw, socklen_t size);

  /// "127.0.0.1:80" or "[::1]:80"; an IPv4-mapped address is shown as IPv4.
  std::string to_string() const;
  /// The address alone, without port or brackets, written to `into`; returns the view of it.
  std::string_view host(std::array<char, 64>& into) const;
  std::uint16_t port() const;
  Address without_port() const;  ///< the same with port 0: the kernel chooses
  bool is_any_ipv6() const;      ///< [::]
  /// 127.0.0.0/8 (also IPv4-mapped) or ::1. A peer on this machine that came by the address of a
  /// network interface is not told apart.
  bool is_loopback() const;

  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&raw_); }
  socklen_t raw_size() const { return size_; }

 private:
  // Large enough for sockaddr_in6; sockaddr_storage would be 128 bytes for each connection.
  alignas(8) std::array<unsigned char, 28> raw_{};
  socklen_t size_ = 0;
};

struct ListenOptions {
  bool reuse_port = true;  ///< SO_REUSEPORT, so that each worker has a queue of its own
  int backlog = 4096;      ///< capped by net.core.somaxconn
};

/// A non-blocking listening socket. Errors: EADDRINUSE, EACCES (port below 1024), EADDRNOTAVAIL.
Result<Fd> listen_on(const Address& address, const ListenOptions& options);

/// getsockname(2): the port the kernel chose for port 0.
Result<Address> local_address(int fd);

/// getpeername(2). Errors: ENOTCONN (reset already).
Result<Address> peer_address(int fd);

struct Accepted {
  Fd fd;  ///< non-blocking, close-on-exec
  Address peer;
};

/// accept4(2), once. Errors the caller must tell apart: EAGAIN (nothing waits), EMFILE and ENFILE
/// (out of descriptors), ENOBUFS and ENOMEM; ECONNABORTED and the network errors of accept(2) that
/// concern only the one connection are retried inside.
Result<Accepted> accept_from(int listener_fd);
/// Whether this errno of an accept concerns only the connection that would have come.
bool concerns_one_connection(int errno_value);

/// Both ends of one TCP connection of this process over 127.0.0.1, non-blocking.
struct SocketPair {
  Fd sender;
  Fd receiver;
};
/// Errors: as socket(2), connect(2) (ENETUNREACH: no loopback interface is up), EMFILE; EPROTO when
/// somebody else connected to the port in between.
Result<SocketPair> tcp_pair_over_loopback();

/// A non-blocking TCP connection that is being opened (connect(2)); EPOLLOUT tells that it stands,
/// EPOLLERR that it failed.
struct ConnectOptions {
  /// The address that the peer sees, with IP_TRANSPARENT where it is not one of this machine's; the
  /// kernel chooses the port. None: the kernel chooses all.
  const Address* source = nullptr;
};
/// Errors: EMFILE, ENFILE; EADDRNOTAVAIL (no local port is free); ENETUNREACH; ECONNREFUSED where
/// it is known at once; EPERM (IP_TRANSPARENT without CAP_NET_ADMIN).
Result<Fd> connect_to(const Address& address, const ConnectOptions& options);

/// SO_KEEPALIVE and its times (tcp(7)), in seconds.
struct KeepAlive {
  int idle_s = 60;      ///< without a byte, then the peer is asked
  int interval_s = 15;  ///< and asked again
  int probes = 4;       ///< unanswered ones: ETIMEDOUT
};
Result<void> set_keep_alive(int fd, const KeepAlive& times);

/// TCP_NODELAY: the last partial segment leaves at once; MSG_MORE does the gathering.
Result<void> set_no_delay(int fd);

/// TCP_NODELAY set again sends what MSG_MORE and the like hold back in the queue (tcp(7)).
void push_queued(int fd);

/// TCP_NOTSENT_LOWAT (tcp(7)): a send that would queue more unsent bytes than this says EAGAIN,
/// also from sendfile(2), and the socket is writable again below half of it.
Result<void> limit_unsent(int fd, ByteCount limit);

/// TCP_USER_TIMEOUT (tcp(7)): the connection ends with ETIMEDOUT once sent bytes were
/// unacknowledged, or the peer's window closed, for so long; also after close(2).
Result<void> set_user_timeout(int fd, unsigned at_most_ms);

/// SO_RCVLOWAT (socket(7)): poll and epoll tell of bytes once so many are there, and of a FIN.
void set_receive_low_water(int fd, std::size_t bytes);

/// Whether an address is this machine's.
bool is_own_address(const Address& address);

/// Whether connect(2) may be given this port for its own end, by this moment's
/// net.ipv4.ip_local_port_range.
bool may_be_given_to_connect(std::uint16_t port);

/// Whether the TCP connection to `peer` has this socket at both ends: connect(2) to a port of this
/// machine on which nobody listens comes about all the same when the kernel has chosen that port
/// for it.
bool is_connected_to_itself(int fd, const Address& peer);

/// SO_SNDBUF (socket(7)): as the kernel counts, about twice the bytes that it takes; grows by
/// itself.
Result<ByteCount> send_buffer(int fd);

/// Bytes that this end has sent and the peer has not acknowledged (SIOCOUTQ, tcp(7)).
Result<ByteCount> unacknowledged(int fd);

/// Whether poll(2) calls it so: a third of the send buffer is free, and not more than half of
/// limit_unsent() unsent. Also when it has an error, which a send will tell.
bool is_writable(int fd);

/// shutdown(2): a FIN goes out behind what is queued; receiving goes on.
void finish_sending(int fd);

/// send(2) without blocking or SIGPIPE. Errors: EAGAIN, EPIPE, ECONNRESET.
Result<ByteCount> send_some(int fd, std::string_view bytes);

/// Ends a TCP connection with RST now, drops what is queued, and leaves the descriptor open
/// (connect(2) with AF_UNSPEC): the kernel lets go of the memory that was queued, and says so on
/// the error queue.
void reset_now(int fd);

/// The next close(2) sends RST and drops what is queued (SO_LINGER with 0 seconds): the peer must
/// not take a cut-off body for a whole one.
/// An accepted socket has that from its listener, and a process that is killed closes, too.
void abort_on_close(int fd);
/// The next close(2) sends what is queued and FIN, as without abort_on_close().
void finish_on_close(int fd);

/// SO_ERROR, which is told once: ECONNRESET, ETIMEDOUT, EHOSTUNREACH ...; 0 when another call has
/// fetched it already.
int take_error(int fd);

/// Of a listener, for those that it accepts: TCP's urgent byte is one of the stream's, and not left
/// out of it.
Result<void> keep_urgent_inline(int fd);

}  // namespace pagewire::sys
