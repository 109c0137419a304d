// `bench sink`: the other end of `bench send`, on this machine or another: receives and discards.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "sys/socket.h"

namespace pagewire::bench {

/// The addresses of "HOST:PORT" or "[V6]:PORT"; ":PORT" and "PORT" are this machine. It may ask a
/// name server, which nothing but a signal that ends the program can cut short: so it is called
/// while signals still do. The error is one line, with `server`.
tl::expected<std::vector<sys::Address>, std::string> look_up(const std::string& server);

struct SinkSettings {
  std::string server;                   ///< HOST:PORT
  std::vector<sys::Address> addresses;  ///< of it; none: receive_and_discard looks them up
  std::size_t connections = 1;
  std::optional<double> seconds;  ///< end after so long; none: when the server has closed
  bool touch = false;  ///< copy the bytes to user space and read them; else MSG_TRUNC (tcp(7))
};

struct SinkResult {
  std::uint64_t received_bytes = 0;
  double seconds = 0;
  double cpu_seconds = 0;
  std::size_t finished = 0;  ///< connections that the server closed in order
  std::size_t broken = 0;    ///< that were reset
  bool interrupted = false;
};

/// Ends early, with what it has, when `stop_fd` is readable. A connection that the server closes is
/// made anew while there is time (with `seconds`). The error is why it could not start.
tl::expected<SinkResult, std::string> receive_and_discard(const SinkSettings& settings,
                                                          int stop_fd);

}  // namespace pagewire::bench
