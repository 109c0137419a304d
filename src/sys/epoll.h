// Epoll and Wakeup: epoll(7) and eventfd(2) as owned descriptors.
#pragma once

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <span>

#include "base/result.h"
#include "sys/fd.h"

namespace pagewire::sys {

class Epoll {
 public:
  static Result<Epoll> create() {
    Fd fd(::epoll_create1(EPOLL_CLOEXEC));
    if (!fd.is_open()) return last_error("epoll_create1");  // EMFILE, ENFILE, ENOMEM
    return Epoll(std::move(fd));
  }

  /// Errors: ENOMEM, ENOSPC (fs.epoll.max_user_watches).
  Result<void> add(int fd, std::uint32_t events, std::uint64_t tag) {
    return control(EPOLL_CTL_ADD, fd, events, tag);
  }
  Result<void> modify(int fd, std::uint32_t events, std::uint64_t tag) {
    return control(EPOLL_CTL_MOD, fd, events, tag);
  }
  void remove(int fd) { ::epoll_ctl(fd_.get(), EPOLL_CTL_DEL, fd, nullptr); }

  /// The events that came, none after `timeout_ms` or on a signal (EINTR).
  std::span<epoll_event> wait(std::span<epoll_event> into, int timeout_ms) {
    const int n = ::epoll_wait(fd_.get(), into.data(), static_cast<int>(into.size()), timeout_ms);
    return into.first(n > 0 ? static_cast<std::size_t>(n) : 0);
  }

 private:
  explicit Epoll(Fd fd) : fd_(std::move(fd)) {}
  Result<void> control(int operation, int fd, std::uint32_t events, std::uint64_t tag) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = tag;
    if (::epoll_ctl(fd_.get(), operation, fd, &event) != 0) return last_error("epoll_ctl");
    return {};
  }
  Fd fd_;
};

/// Lets another thread wake an epoll_wait.
class Wakeup {
 public:
  static Result<Wakeup> create() {
    Fd fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!fd.is_open()) return last_error("eventfd");
    return Wakeup(std::move(fd));
  }
  int fd() const { return fd_.get(); }
  /// Any thread. Cannot fail in a way that matters: EAGAIN means that a wake-up is pending already.
  void wake() { ::eventfd_write(fd_.get(), 1); }
  void clear() {
    eventfd_t count = 0;
    ::eventfd_read(fd_.get(), &count);
  }

 private:
  explicit Wakeup(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace pagewire::sys
