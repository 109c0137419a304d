// bench_epoll_send ADDR:PORT BODY_BYTES: the least that an epoll server can spend on a small
// response: recv(2), then one send(2) of a head and body that are ready in memory.
#include <cstdlib>
#include <string>

#include "../load/position_code.h"
#include "accept_loop.h"

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

std::string make_response(std::size_t body_bytes) {
  std::string response =
      "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
      "Content-Length: " +
      std::to_string(body_bytes) + "\r\n\r\n";
  const std::size_t head_bytes = response.size();
  response.resize(head_bytes + body_bytes);
  fill_position_coded(std::span(response).subspan(head_bytes));
  return response;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: bench_epoll_send ADDR:PORT BODY_BYTES\n", stderr);
    return 2;
  }
  const std::string response = make_response(std::strtoull(argv[2], nullptr, 10));
  return AcceptLoop(FixedResponse(response)).run(argv[1]);
}
