// bench_readwrite_loop ADDR:PORT FILE BUFFER_BYTES: how textbooks send a file: read(2) into a
// buffer, write(2) it to the socket, until the file ends; then close. Every connection gets the
// whole file, raw, as from `pagewire bench send`.
//
// It shows what two copies of every byte cost whoever does not think about it; pagewire's own path
// `copy` reads up to 256 KiB at once. One thread, because the run time of threads that end with
// their connection could not be read any more (proc(5)).
//
// write(2) to a peer that has gone raises SIGPIPE, so that is ignored. Ends with the process.
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include "sys/fd.h"
#include "sys/socket.h"

namespace {

using namespace pagewire;

constexpr int turn_buffers = 16;  // then the other connections have theirs

/// One connection: what was read and not yet written is [begin, end) of its buffer.
struct Stream {
  sys::Fd socket;
  sys::Fd file;
  std::vector<char> buffer;
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// False when the stream is over.
bool advance(Stream& stream) {
  for (int i = 0; i < turn_buffers; ++i) {
    if (stream.begin == stream.end) {
      const ssize_t got = ::read(stream.file.get(), stream.buffer.data(), stream.buffer.size());
      if (got <= 0) return false;  // the end; a disk that fails ends the stream early
      stream.begin = 0;
      stream.end = static_cast<std::size_t>(got);
    }
    const ssize_t written = ::write(stream.socket.get(), stream.buffer.data() + stream.begin,
                                    stream.end - stream.begin);
    if (written < 0) return errno == EAGAIN;  // full: EPOLLOUT comes; else EPIPE or ECONNRESET
    stream.begin += static_cast<std::size_t>(written);
  }
  return true;
}

void watch(const sys::Fd& epoll, int fd, epoll_event event) {
  ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
}

[[noreturn]] void serve(const sys::Fd& listener, const char* file, std::size_t buffer_bytes) {
  const sys::Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  watch(epoll, listener.get(), {.events = EPOLLIN, .data = {.ptr = nullptr}});
  std::array<epoll_event, 256> events;
  for (;;) {
    const int count = ::epoll_wait(epoll.get(), events.data(), events.size(), -1);
    for (int i = 0; i < count; ++i) {
      auto* const stream = static_cast<Stream*>(events[i].data.ptr);
      if (stream != nullptr) {
        if (!advance(*stream)) delete stream;
      } else if (auto accepted = sys::accept_from(listener.get())) {
        auto fresh = std::make_unique<Stream>(std::move(accepted->fd),
                                              sys::Fd(::open(file, O_RDONLY | O_CLOEXEC)),
                                              std::vector<char>(buffer_bytes));
        const int fd = fresh->socket.get();
        watch(epoll, fd, {.events = EPOLLOUT, .data = {.ptr = fresh.release()}});
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t buffer_bytes = argc == 4 ? std::strtoull(argv[3], nullptr, 10) : 0;
  if (buffer_bytes == 0) {
    std::fputs("usage: bench_readwrite_loop ADDR:PORT FILE BUFFER_BYTES\n", stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  const auto address = sys::Address::parse(argv[1]);
  const auto listener = address ? sys::listen_on(*address, {}) : tl::unexpected(address.error());
  if (!listener) {
    std::fprintf(stderr, "%s: %s\n", argv[1], describe(listener.error()).c_str());
    return 1;
  }
  serve(*listener, argv[2], buffer_bytes);
}
