// The error queue of a socket that sends with MSG_ZEROCOPY.
//
// Relies on: Linux, Documentation/networking/msg_zerocopy.rst (notification parsing: one control
// message of SOL_IP/IP_RECVERR or SOL_IPV6/IPV6_RECVERR holds a sock_extended_err, whose ee_info
// and ee_data are the first and the last number of a range); ip(7), recvmsg(2).
#include "sys/zero_copy.h"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

namespace pagewire::sys {

namespace {

std::optional<ZeroCopyCompletion> completion_in(msghdr& message) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    const bool ipv4 = header->cmsg_level == SOL_IP && header->cmsg_type == IP_RECVERR;
    const bool ipv6 = header->cmsg_level == SOL_IPV6 && header->cmsg_type == IPV6_RECVERR;
    if (!ipv4 && !ipv6) continue;
    sock_extended_err error;
    std::memcpy(&error, CMSG_DATA(header), sizeof error);
    if (error.ee_origin != SO_EE_ORIGIN_ZEROCOPY) continue;
    return ZeroCopyCompletion{.first = error.ee_info,
                              .last = error.ee_data,
                              .copied = (error.ee_code & SO_EE_CODE_ZEROCOPY_COPIED) != 0};
  }
  return std::nullopt;
}

}  // namespace

Result<void> allow_zero_copy(int fd) {
  constexpr int on = 1;
  if (::setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on) != 0) {
    return last_error("setsockopt(SO_ZEROCOPY)");
  }
  return {};
}

std::optional<ZeroCopyCompletion> next_completion(int fd) {
  for (;;) {
    // Room for the sock_extended_err and the address behind it (an IPv6 one at most).
    alignas(cmsghdr) std::array<char, 128> control;
    msghdr message{};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    if (::recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
      if (errno == EINTR) continue;  // a signal
      return std::nullopt;           // EAGAIN: the queue is empty
    }
    // Other things that stand there (ICMP errors, time stamps) are nothing we asked for.
    if (const std::optional<ZeroCopyCompletion> found = completion_in(message)) return found;
  }
}

}  // namespace pagewire::sys
