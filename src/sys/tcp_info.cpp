#include "sys/tcp_info.h"

#include <linux/tcp.h>
#include <sys/socket.h>

#include <cstddef>

namespace pagewire::sys {

Result<TcpInfo> tcp_info(int fd) {
  // Not <netinet/in.h>, whose company would bring in glibc's struct of the same name.
  constexpr int tcp_level = 6;
  struct tcp_info raw {};
  socklen_t size = sizeof raw;
  if (::getsockopt(fd, tcp_level, TCP_INFO, &raw, &size) != 0) {
    return last_error("getsockopt(TCP_INFO)");
  }
  // The kernel says how much of the struct it knows.
  constexpr socklen_t needed =
      offsetof(struct tcp_info, tcpi_sndbuf_limited) + sizeof raw.tcpi_sndbuf_limited;
  if (size < needed) return failure("getsockopt(TCP_INFO)", ENODATA);
  return TcpInfo{.acknowledged_bytes = raw.tcpi_bytes_acked,
                 .retransmits = raw.tcpi_total_retrans,
                 .busy_us = raw.tcpi_busy_time,
                 .receiver_limited_us = raw.tcpi_rwnd_limited,
                 .send_buffer_limited_us = raw.tcpi_sndbuf_limited};
}

}  // namespace pagewire::sys
