// recv(2) and send(2) without what libc wraps around them.
//
// In a process with threads, libc's recv, send and sendmsg are cancellation points
// (pthreads(7)): each call saves and restores the thread's cancel state, about 3% of what a small
// response costs. No thread of pagewire is ever cancelled, so the wrappers buy nothing.
#pragma once

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace pagewire::sys {

/// As recv(2): bytes, 0 at the end of the stream, -1 with errno.
inline ssize_t plain_recv(int fd, void* into, std::size_t size, int flags) {
  return ::syscall(SYS_recvfrom, fd, into, size, flags, nullptr, nullptr);
}

/// As send(2): bytes, or -1 with errno.
inline ssize_t plain_send(int fd, const void* bytes, std::size_t size, int flags) {
  return ::syscall(SYS_sendto, fd, bytes, size, flags, nullptr, 0);
}

}  // namespace pagewire::sys
