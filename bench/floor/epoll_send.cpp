// bench_epoll_send ADDR:PORT BODY_BYTES: the least that an epoll server can spend on a small
// response: recv(2), then one send(2) of a head and body that are ready in memory.
#include <cstdlib>

#include "accept_loop.h"
#include "fixed_response.h"

namespace {

using namespace pagewire::bench;

/// Sends one fixed response. What a full socket has not taken is kept as an offset.
class FixedResponse {
 public:
  explicit FixedResponse(std::string_view bytes) : bytes_(bytes), sent_(bytes.size()) {}

  bool busy() const { return sent_ < bytes_.size(); }
  void begin() { sent_ = 0; }
  bool advance(int fd) {
    while (busy()) {
      const ssize_t sent = ::send(fd, bytes_.data() + sent_, bytes_.size() - sent_, MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN;  // full: EPOLLOUT comes; else EPIPE or ECONNRESET
      sent_ += static_cast<std::size_t>(sent);
    }
    return true;
  }

 private:
  std::string_view bytes_;
  std::size_t sent_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: bench_epoll_send ADDR:PORT BODY_BYTES\n", stderr);
    return 2;
  }
  const std::string response = make_response(std::strtoull(argv[2], nullptr, 10));
  return AcceptLoop(FixedResponse(response)).run(argv[1]);
}
