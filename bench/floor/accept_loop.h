// The barest epoll server loop: the part that both floors share. It knows no limits, no timeouts
// and no HTTP beyond "a request ends with an empty line and comes in one piece", which is what
// makes it a floor: what a real server costs above it is the price of being a server.
//
// Edge-triggered, one recv(2) a request. Ends with the process (SIGTERM).
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <string_view>

#include "sys/fd.h"
#include "sys/socket.h"

namespace pagewire::bench {

/// `Work` is what is left to send on one connection: it has begin() (a request has come) and
/// advance(fd) (send until nothing is left or the socket is full; false: the peer is gone).
template <class Work>
class AcceptLoop {
 public:
  explicit AcceptLoop(const Work& fresh) : fresh_(fresh) {}

  /// Returns only when it cannot listen.
  int run(const char* address_text) {
    const auto address = sys::Address::parse(address_text);
    auto listener = address ? sys::listen_on(*address, {}) : tl::unexpected(address.error());
    if (!listener) {
      std::fprintf(stderr, "%s: %s\n", address_text, describe(listener.error()).c_str());
      return 1;
    }
    listener_ = std::move(*listener);
    watch(listener_.get(), EPOLLIN, nullptr);
    std::array<epoll_event, 256> events;
    for (;;) {
      const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
      for (int i = 0; i < count; ++i) {
        auto* const client = static_cast<Client*>(events[i].data.ptr);
        if (client == nullptr) {
          accept_one();
        } else if (!serve(*client)) {
          delete client;
        }
      }
    }
  }

 private:
  struct Client {
    sys::Fd fd;
    Work work;
  };

  void watch(int fd, std::uint32_t events, Client* client) {
    epoll_event event{.events = events, .data = {.ptr = client}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }

  void accept_one() {
    auto accepted = sys::accept_from(listener_.get());
    if (!accepted) return;  // the client went away while it was queued
    static_cast<void>(sys::set_no_delay(accepted->fd.get()));
    auto client = std::make_unique<Client>(std::move(accepted->fd), fresh_);
    const int fd = client->fd.get();
    watch(fd, EPOLLIN | EPOLLOUT | EPOLLET, client.release());
  }

  bool serve(Client& client) {
    const int fd = client.fd.get();
    if (client.work.busy()) return client.work.advance(fd);
    const ssize_t got = ::recv(fd, request_.data(), request_.size(), 0);
    if (got < 0) return errno == EAGAIN;  // the first event after accept says only "writable"
    if (got == 0) return false;
    if (!std::string_view(request_.data(), static_cast<std::size_t>(got)).ends_with("\r\n\r\n")) {
      return false;
    }
    client.work.begin();
    return client.work.advance(fd);
  }

  const Work fresh_;
  sys::Fd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  sys::Fd listener_;
  std::array<char, 4096> request_;
};

}  // namespace pagewire::bench
