// bench_sendfile_loop ADDR:PORT FILE [CHUNK_BYTES]: the least that an epoll server can spend on a
// file: a ready head with MSG_MORE (so that it shares a segment with the body), then sendfile(2)
// until the file or the socket's room ends.
//
// sendfile raises SIGPIPE like write(2), so that is ignored. It returns 0 when the file was
// truncated.
#include <fcntl.h>
#include <sys/sendfile.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <string>

#include "accept_loop.h"
#include "sys/file.h"

namespace {

using namespace pagewire::bench;

struct Source {
  int fd = -1;
  off_t size = 0;
  std::size_t chunk_bytes = 0;
  std::string head;
};

class FileResponse {
 public:
  explicit FileResponse(const Source& source) : source_(&source), offset_(source.size) {}

  bool busy() const { return offset_ < source_->size; }
  void begin() {
    offset_ = 0;
    head_due_ = true;
  }
  bool advance(int fd) {
    if (head_due_) {
      const std::string& head = source_->head;
      // The socket's queue is empty, for the request came after the last response: never short.
      if (::send(fd, head.data(), head.size(), MSG_MORE | MSG_NOSIGNAL) < 0) return false;
      head_due_ = false;
    }
    while (busy()) {
      const auto left = static_cast<std::size_t>(source_->size - offset_);
      const ssize_t sent =
          ::sendfile(fd, source_->fd, &offset_, std::min(left, source_->chunk_bytes));
      if (sent < 0) return errno == EAGAIN;  // full: EPOLLOUT comes; else EPIPE or ECONNRESET
      if (sent == 0) return false;
    }
    return true;
  }

 private:
  const Source* source_;
  off_t offset_;
  bool head_due_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    std::fputs("usage: bench_sendfile_loop ADDR:PORT FILE [CHUNK_BYTES]\n", stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  const pagewire::sys::Fd file(::open(argv[2], O_RDONLY | O_CLOEXEC));
  const auto status = pagewire::sys::status_of(file.get());
  if (!status) {
    std::fprintf(stderr, "%s: %s\n", argv[2], describe(status.error()).c_str());
    return 1;
  }
  const std::uint64_t size = status->size.value;
  const Source source{.fd = file.get(),
                      .size = static_cast<off_t>(size),
                      .chunk_bytes = argc == 4 ? std::strtoull(argv[3], nullptr, 10) : 1 << 20,
                      .head =
                          "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                          "Content-Length: " +
                          std::to_string(size) + "\r\n\r\n"};
  return AcceptLoop(FileResponse(source)).run(argv[1]);
}
