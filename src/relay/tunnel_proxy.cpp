// The PROXY protocol of a tunnel: the header that the client's side begins with (--accept-proxy),
// and the one that is sent to the upstream (--send-proxy).
//
// The header is looked at where it lies (MSG_PEEK) and taken out of the socket once it is whole, to
// its last byte and no further: what follows it is the pump's. It is looked at anew with each part
// that comes, until the header timeout; however small the parts are, that is at most the 107 bytes
// of version 1 and the first 16 of version 2, which say how many there will be: SO_RCVLOWAT
// (socket(7), tcp_set_rcvlowat) keeps epoll silent until so many, or a FIN, have come.
#include <poll.h>

#include <array>

#include "relay/tunnel.h"
#include "relay/worker.h"
#include "sys/plain_calls.h"

namespace pagewire::relay {

namespace {

/// A FIN stands behind what has come: nothing will follow.
bool peer_has_finished(int fd) {
  pollfd state{.fd = fd, .events = POLLRDHUP, .revents = 0};
  return ::poll(&state, 1, 0) > 0;
}

}  // namespace

void Tunnel::read_header() {
  const std::span<char> room = worker_.room().buffer.first(max_proxy_header_bytes);
  const ssize_t n = sys::plain_recv(fd(), room.data(), room.size(), MSG_PEEK);
  // EAGAIN: the edge told of nothing that is there still; a reset comes as failed().
  if (n < 0) return worker_.loop().emptied(*this, loop::Emptied::ForNow);
  const ProxyHeader header = parse_proxy_header(room.first(static_cast<std::size_t>(n)));
  switch (header.kind) {
    case ProxyHeader::Kind::Bad:
      return close(End::ProxyHeader);
    case ProxyHeader::Kind::NeedMore:
      if (peer_has_finished(fd())) return close(End::ProxyHeader);
      if (header.needed > 0) sys::set_receive_low_water(fd(), header.needed);
      low_water_ = low_water_ || header.needed > 0;
      return worker_.loop().emptied(*this, loop::Emptied::ForNow);
    case ProxyHeader::Kind::Parsed:
      break;
  }
  // It lies there whole, so that one call takes it.
  static_cast<void>(sys::plain_recv(fd(), room.data(), header.length, 0));
  if (low_water_) sys::set_receive_low_water(fd(), 1);
  worker_.loop().pause_reading(*this);
  if (!header.local) {
    proxied_ = std::make_unique<Proxied>(Proxied{client_, header.addresses.destination});
    client_ = header.addresses.source;
    set_key(hash_key(client_));
  }
  after_header();
}

void Tunnel::after_header() {
  if (front_ == nullptr) {
    set_state(TunnelState::Seek);
    return seek();
  }
  set_state(TunnelState::Handshake);
  start();
}

/// False: the upstream is gone already; with an errno.
Result<void> Tunnel::send_header() {
  if (!route_.route.send_proxy) return {};
  ProxyAddresses addresses{.source = client_, .destination = {}};
  if (proxied_ != nullptr) {
    addresses.destination = proxied_->destination;
  } else if (const Result<sys::Address> local = sys::local_address(fd())) {
    addresses.destination = *local;
  }
  std::array<char, max_written_proxy_bytes> room;
  const std::string_view header = write_proxy_header(*route_.route.send_proxy, addresses, room);
  send_at_once();  // what the client says may follow before this is acknowledged
  const Result<ByteCount> sent = sys::send_some(far_->fd(), header);
  if (!sent) return tl::unexpected(sent.error());
  // Its queue is empty, and no send buffer is smaller than a header.
  if (sent->value != header.size()) return failure("send", ENOBUFS);
  return {};
}

}  // namespace pagewire::relay
