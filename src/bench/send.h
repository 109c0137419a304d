// `bench send`: the whole file, raw, to whoever connects; or to iperf3 in its own protocol.
#pragma once

#include <csignal>
#include <functional>
#include <string>

#include <tl/expected.hpp>

#include "base/units.h"
#include "egress/egress.h"
#include "sys/socket.h"

namespace pagewire::bench {

struct SendSettings {
  std::string file;
  ByteCount zeros{};  ///< instead of a file: so many of /dev/zero; 0: the file
  sys::Address listen;
  const egress::Path* path = nullptr;
  bool iperf3 = false;    ///< answer iperf3's reverse tests (-R) instead of sending once
  std::size_t count = 0;  ///< end after so many connections (iperf3: tests); 0: until stopped
};

/// Listens and serves until `stop_fd` is readable (a signalfd(2) or eventfd(2) of the caller's).
/// `say` gets one line when it listens ("sending big.bin (1.0 GiB) by sendfile on
/// 127.0.0.1:9000"), and one for each connection or test that is over: "127.0.0.1:40312: 1073.7 MB
/// in 0.21 s, 5112.0 MB/s". `complain` gets what went wrong with one of them; the next is served.
/// The error is why it could not start: the file, the address.
struct SendHooks {
  std::function<void(const std::string&)> say;
  std::function<void(const std::string&)> complain;
  int stop_fd = -1;
};
tl::expected<void, std::string> send_file(const SendSettings& settings, const SendHooks& hooks);

}  // namespace pagewire::bench
