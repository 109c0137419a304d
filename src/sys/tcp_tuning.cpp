#include "sys/tcp_tuning.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <limits>

namespace pagewire::sys {

Result<ByteCount> set_send_buffer(int fd, ByteCount wanted) {
  constexpr std::uint64_t most = std::numeric_limits<int>::max();
  int value = static_cast<int>(std::min(wanted.value, most));
  if (::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof value) != 0) {
    return last_error("setsockopt(SO_SNDBUF)");
  }
  socklen_t size = sizeof value;
  if (::getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, &size) != 0) {
    return last_error("getsockopt(SO_SNDBUF)");
  }
  return ByteCount{static_cast<std::uint64_t>(std::max(value, 0))};
}

Result<void> set_congestion(int fd, const std::string& name) {
  const auto size = static_cast<socklen_t>(name.size());
  if (::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), size) != 0) {
    return last_error("setsockopt(TCP_CONGESTION)");
  }
  return {};
}

Result<std::string> congestion_of(int fd) {
  std::array<char, 16> name{};  // TCP_CA_NAME_MAX
  socklen_t size = name.size();
  if (::getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), &size) != 0) {
    return last_error("getsockopt(TCP_CONGESTION)");
  }
  return std::string(name.begin(), std::find(name.begin(), name.begin() + size, '\0'));
}

Result<void> set_type_of_service(int fd, int value) {
  // An IPv6 socket takes both: it may speak IPv4 to a mapped address. An IPv4 one says ENOPROTOOPT
  // to the second.
  static_cast<void>(::setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof value));
  if (::setsockopt(fd, IPPROTO_IP, IP_TOS, &value, sizeof value) != 0) {
    return last_error("setsockopt(IP_TOS)");
  }
  return {};
}

Result<void> limit_pacing_rate(int fd, std::uint64_t bytes_per_s) {
  if (::setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &bytes_per_s, sizeof bytes_per_s) != 0) {
    return last_error("setsockopt(SO_MAX_PACING_RATE)");
  }
  return {};
}

Result<std::int64_t> ms_since_last_ack(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
    return last_error("getsockopt(TCP_INFO)");
  }
  return std::int64_t{info.tcpi_last_ack_recv};
}

void leave_unpaced(int fd) {
  const Result<std::string> now = congestion_of(fd);
  if (now && *now == paced_congestion) static_cast<void>(set_congestion(fd, unpaced_congestion));
}

}  // namespace pagewire::sys
