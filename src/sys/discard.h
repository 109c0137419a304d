// Receiving bytes that nobody will look at: the kernel drops them, nothing is copied.
#pragma once

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/result.h"
#include "base/units.h"

namespace pagewire::sys {

/// Drops up to `most` received bytes of a TCP socket (MSG_TRUNC, tcp(7)) without blocking; 0 is the
/// end of the stream. Errors: EAGAIN (nothing is there), ECONNRESET, ETIMEDOUT.
inline Result<ByteCount> discard_received(int fd, ByteCount most) {
  for (;;) {
    // Not by recv(3): the sanitizers take a buffer that says so many bytes for one that is written.
    constexpr int flags = MSG_TRUNC | MSG_DONTWAIT;
    const long n = ::syscall(SYS_recvfrom, fd, nullptr, most.value, flags, nullptr, nullptr);
    if (n >= 0) return ByteCount{static_cast<std::uint64_t>(n)};
    if (errno != EINTR) return last_error("recv");
  }
}

}  // namespace pagewire::sys
