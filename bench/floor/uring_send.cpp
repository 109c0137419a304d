// bench_uring_send ADDR:PORT BODY_BYTES: the least that an io_uring server can spend on a small
// response: multishot accept, multishot receive from provided buffers, and the sends of a round in
// one io_uring_enter(2). As bare as accept_loop.h: no limits, no timeouts, and a request comes in
// one piece.
//
// A send without MSG_DONTWAIT and with MSG_WAITALL waits in the kernel until all has gone, so there
// are no short ones. A client's descriptor is closed when both of its operations are over.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "fixed_response.h"
#include "sys/ring.h"
#include "sys/socket.h"

namespace {

using namespace pagewire;

class UringServer {
 public:
  UringServer(sys::Ring& ring, sys::BufferRing& buffers, std::string_view response, int listener)
      : ring_(ring), buffers_(buffers), response_(response), listener_(listener) {}

  [[noreturn]] void run() {
    accept();
    std::vector<sys::Completion> came;
    for (;;) {
      constexpr int for_ever_ms = 1'000'000;
      ring_.submit_and_wait(for_ever_ms);
      came.clear();
      ring_.reap(came);
      for (const sys::Completion& completion : came) handle(completion);
    }
  }

 private:
  struct Client {
    sys::Fd fd;
    bool receiving = true;
    bool sending = false;
  };
  static constexpr std::uint64_t send_mark = 1;  // beside a Client's address; 0: the listener

  io_uring_sqe& place() {
    for (;;) {
      if (io_uring_sqe* const free = ring_.next()) return *free;
      ring_.submit();
    }
  }

  void accept() {
    io_uring_sqe& submission = place();
    ::io_uring_prep_multishot_accept(&submission, listener_, nullptr, nullptr, SOCK_CLOEXEC);
    submission.user_data = 0;
  }

  void receive(Client& client) {
    io_uring_sqe& submission = place();
    ::io_uring_prep_recv_multishot(&submission, client.fd.get(), nullptr, 0, 0);
    submission.flags |= IOSQE_BUFFER_SELECT;
    submission.buf_group = sys::BufferRing::group;
    submission.user_data = reinterpret_cast<std::uint64_t>(&client);
    client.receiving = true;
  }

  void send(Client& client) {
    io_uring_sqe& submission = place();
    ::io_uring_prep_send(&submission, client.fd.get(), response_.data(), response_.size(),
                         MSG_NOSIGNAL | MSG_WAITALL);
    submission.user_data = reinterpret_cast<std::uint64_t>(&client) | send_mark;
    client.sending = true;
  }

  void handle(const sys::Completion& completion) {
    if (completion.tag == 0) return accepted(completion);
    auto& client = *reinterpret_cast<Client*>(completion.tag & ~send_mark);
    if ((completion.tag & send_mark) != 0) {
      client.sending = false;
      if (!client.receiving) delete &client;
      return;
    }
    bool asked = completion.result > 0;
    if (completion.has_buffer()) {
      const auto size = asked ? static_cast<std::size_t>(completion.result) : 0;
      const std::span<const char> bytes = buffers_.view(completion.buffer(), size);
      asked = asked && std::string_view(bytes.data(), size).ends_with("\r\n\r\n");
      buffers_.give_back(completion.buffer());
    }
    if (asked) send(client);
    if (completion.more()) return;
    if (asked || completion.result == -ENOBUFS) return receive(client);
    client.receiving = false;  // the client has gone
    if (!client.sending) delete &client;
  }

  void accepted(const sys::Completion& completion) {
    if (completion.result >= 0) {
      auto client = std::make_unique<Client>(sys::Fd(completion.result));
      static_cast<void>(sys::set_no_delay(client->fd.get()));
      receive(*client.release());
    }
    if (!completion.more()) accept();
  }

  sys::Ring& ring_;
  sys::BufferRing& buffers_;
  std::string_view response_;
  int listener_;
};

int fail(const char* what, const Error& error) {
  std::fprintf(stderr, "%s: %s\n", what, describe(error).c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: bench_uring_send ADDR:PORT BODY_BYTES\n", stderr);
    return 2;
  }
  const auto address = sys::Address::parse(argv[1]);
  auto listener = address ? sys::listen_on(*address, {}) : tl::unexpected(address.error());
  if (!listener) return fail(argv[1], listener.error());
  auto ring = sys::Ring::create({});
  if (!ring) return fail("io_uring", ring.error());
  auto buffers = sys::BufferRing::create(*ring, {});
  if (!buffers) return fail("io_uring", buffers.error());
  if (const auto enabled = ring->enable(); !enabled) return fail("io_uring", enabled.error());
  ring->register_index();
  const std::string response = bench::make_response(std::strtoull(argv[2], nullptr, 10));
  UringServer(*ring, *buffers, response, listener->get()).run();
}
