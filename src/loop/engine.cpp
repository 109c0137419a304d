// Which kind of loop: what "auto" becomes, and whether io_uring is to be had.
//
// io_uring is often switched off (containers' seccomp filters, sysctl kernel.io_uring_disabled), or
// older than what the loop needs (Linux 6.1): that is normal, and epoll does.
#include <array>
#include <vector>

#include "loop/loop.h"
#include "sys/ring.h"

namespace pagewire::loop {

std::string_view name(Engine engine) {
  switch (engine) {
    case Engine::Auto:
      return "auto";
    case Engine::Epoll:
      return "epoll";
    case Engine::Uring:
      return "uring";
  }
  return "";
}

EngineChoice choose_engine(Engine wanted, Engine preferred,
                           const std::function<Result<void>()>& probe) {
  if (wanted != Engine::Auto) return {.engine = wanted, .note = {}};
  if (preferred != Engine::Uring) return {.engine = preferred, .note = {}};
  if (const Result<void> available = probe(); !available) {
    return {.engine = Engine::Epoll,
            .note = "no io_uring here (" + describe(available.error()) + "); epoll does"};
  }
  return {.engine = Engine::Uring, .note = {}};
}

Result<void> probe_uring() {
  // As large as a worker's own, so that a limit on memory shows here.
  const Settings settings;
  Result<sys::Ring> ring = sys::Ring::create(settings.ring);
  if (!ring) return tl::unexpected(ring.error());
  const Result<sys::BufferRing> buffers = sys::BufferRing::create(*ring, settings.buffers);
  if (!buffers) return tl::unexpected(buffers.error());
  constexpr std::array<int, 6> needed = {IORING_OP_RECV,     IORING_OP_SEND,
                                         IORING_OP_SENDMSG,  IORING_OP_ACCEPT,
                                         IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL};
  if (!ring->knows(needed)) return failure("io_uring_register(IORING_REGISTER_PROBE)", ENOSYS);
  if (Result<void> enabled = ring->enable(); !enabled) return enabled;
  // A filter may let a ring be made and not be entered.
  io_uring_sqe* const nothing = ring->next();
  if (nothing == nullptr) return failure("io_uring_enter", ENOMEM);
  ::io_uring_prep_nop(nothing);
  ring->submit();
  std::vector<sys::Completion> came;
  ring->reap(came);
  if (came.size() != 1 || came.front().result != 0) return failure("io_uring_enter", EPERM);
  return {};
}

Result<std::unique_ptr<Loop>> make_loop(Engine engine, const Settings& settings) {
  switch (engine) {
    case Engine::Uring:
      return make_uring_loop(settings);
    case Engine::Auto:  // what the caller should have resolved; epoll is always there
    case Engine::Epoll:
      return make_epoll_loop(settings);
  }
  return make_epoll_loop(settings);
}

}  // namespace pagewire::loop
