// splice(2) between a socket and a pipe, without waiting for either.
//
// Kernel facts: SPLICE_F_NONBLOCK makes the pipe's end not wait; the socket's end follows the
// socket's own O_NONBLOCK. The wrapper of libc is a cancellation point (plain_calls.h).
#pragma once

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace pagewire::sys {

/// Whether more follows at once: the kernel may then wait with a segment that is not full.
enum class More : bool { No, Yes };

/// As splice(2): bytes moved, 0 at the end of the stream, -1 with errno.
inline ssize_t splice_some(int from, int to, std::size_t count, More more) {
  const unsigned flags =
      SPLICE_F_MOVE | SPLICE_F_NONBLOCK | (more == More::Yes ? unsigned{SPLICE_F_MORE} : 0U);
  return ::syscall(SYS_splice, from, nullptr, to, nullptr, count, flags);
}

}  // namespace pagewire::sys
