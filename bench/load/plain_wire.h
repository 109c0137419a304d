// One connection of the load client over plain TCP.
//
// A Wire is what LoadClient asks of a transport; load/tls_wire.h is the other one. `read` and
// `skip` make at most one system call that takes bytes, so that a caller can take turns.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <span>
#include <string_view>

#include "sys/fd.h"
#include "sys/socket.h"

namespace pagewire::bench {

struct Got {
  enum class Kind { Bytes, Nothing, Closed, Failed };
  Kind kind = Kind::Nothing;  ///< Nothing: wait for the next event
  std::size_t bytes = 0;      ///< of what the server sent, without the transport's own
  bool drained = false;       ///< nothing was left in the kernel's queue
};

/// What a recv(2) returned, when `wanted` bytes were asked for.
inline Got received(ssize_t got, std::size_t wanted) {
  if (got > 0) {
    const auto bytes = static_cast<std::size_t>(got);
    return {.kind = Got::Kind::Bytes, .bytes = bytes, .drained = bytes < wanted};
  }
  if (got == 0) return {.kind = Got::Kind::Closed};
  // EAGAIN: an earlier recv of the same wake-up took what this event announced. EINTR: a signal
  // that stopped and continued us. Anything else (ECONNRESET) ends the connection.
  if (errno == EAGAIN) return {};
  if (errno == EINTR) return {.kind = Got::Kind::Bytes};
  return {.kind = Got::Kind::Failed};
}

class PlainWire {
 public:
  struct Context {};

  /// Blocking until it is connected: a full accept queue is then the kernel's to retry.
  bool connect(Context&, const sys::Address& address) {
    fd_ = sys::Fd(::socket(address.raw()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return fd_.is_open() && ::connect(fd_.get(), address.raw(), address.raw_size()) == 0 &&
           ::fcntl(fd_.get(), F_SETFL, O_NONBLOCK) == 0 && sys::set_no_delay(fd_.get());
  }
  int fd() const { return fd_.get(); }
  bool is_open() const { return fd_.is_open(); }
  void close() { fd_.close(); }

  /// False when not all of it went: the server closed between two requests (EPIPE, ECONNRESET). A
  /// short count cannot be: the send buffer is empty and a request smaller than the smallest one.
  bool send(std::string_view bytes) {
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return sent == static_cast<ssize_t>(bytes.size());
  }
  Got read(std::span<char> into) {
    return received(::recv(fd_.get(), into.data(), into.size(), 0), into.size());
  }
  /// Thrown away in the kernel (recv with MSG_TRUNC, tcp(7)).
  Got skip(std::size_t at_most) {
    return received(::recv(fd_.get(), nullptr, at_most, MSG_TRUNC), at_most);
  }

  /// Whether heads can be read too, or only be counted.
  static constexpr bool is_blind() { return false; }
  bool go_blind() { return false; }

 private:
  sys::Fd fd_;
};

}  // namespace pagewire::bench
