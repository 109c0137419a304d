// What TCP itself says of a connection: TCP_INFO, tcp(7), struct tcp_info of linux/tcp.h.
//
// Apart from socket.h because the kernel's header and glibc's <netinet/tcp.h> cannot stand in one
// file, and glibc's knows no busy time.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace pagewire::sys {

struct TcpInfo {
  std::uint64_t acknowledged_bytes = 0;  ///< by the peer, since the connection began
  std::uint64_t retransmits = 0;         ///< segments, likewise
  std::uint64_t busy_us = 0;  ///< time with something to send; the two below are parts of it
  std::uint64_t receiver_limited_us = 0;     ///< the receiver's window was full
  std::uint64_t send_buffer_limited_us = 0;  ///< our send buffer was too small
};

/// Errors: ENOTSOCK, EOPNOTSUPP (not TCP); ENODATA: a kernel before 4.10, which counts no times.
Result<TcpInfo> tcp_info(int fd);

}  // namespace pagewire::sys
