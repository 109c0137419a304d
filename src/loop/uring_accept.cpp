// Listeners and watched descriptors on io_uring. See uring_loop.h.
//
// Kernel facts relied on (io_uring_prep_multishot_accept(3)): a multishot accept takes connections
// from the queue as they come; it looks for a descriptor before it looks into the queue, so out of
// descriptors it fails (EMFILE, ENFILE) also when nobody waits, and at once when it is begun again.
// Then a poll waits for the next connection, and accept4(2) takes it, until one call went well. A
// multishot accept has one place for the peers' addresses, which the next one overwrites:
// getpeername(2) is asked instead.
#include <poll.h>

#include <algorithm>
#include <utility>

#include "loop/uring_loop.h"

namespace pagewire::loop {

Result<void> UringLoop::listen(int listener_fd, Acceptor& acceptor) {
  listeners_.push_back(std::make_unique<Listener>(listener_fd, acceptor));
  if (begun_) arm_accept(*listeners_.back());
  return {};
}

void UringLoop::unlisten_all() {
  for (const std::unique_ptr<Listener>& listener : listeners_) {
    const bool idle = std::exchange(listener->gone, true) || listener->operations == 0;
    if (idle) continue;
    ++listener->operations;
    cancel(static_cast<Source*>(listener.get()), listener->under_way, Operation::SourceCancel);
  }
  finish_accepts();
  for (const std::unique_ptr<Listener>& listener : listeners_) {
    constexpr std::size_t whole_queue = 65'536;  // net.core.somaxconn's usual bound, and a limit
    if (listener->fd >= 0) accept_now(*listener, whole_queue);
    listener->fd = -1;
  }
}

/// Until no accept is under way: what they took in is told, everything else waits for its turn.
void UringLoop::finish_accepts() {
  constexpr int most_calls = 100;  // a cancelled accept ends within one
  const auto busy = [](const auto& listener) { return listener->operations > 0; };
  for (int i = 0; i < most_calls; ++i) {
    for (std::size_t at = looked_at_; at < came_.size(); ++at) {
      sys::Completion& completion = came_[at];
      const auto operation = static_cast<Operation>(completion.tag & operation_bits);
      const bool of_listener = operation == Operation::Accept ||
                               operation == Operation::AcceptPoll ||
                               operation == Operation::SourceCancel;
      if (of_listener) dispatch(std::exchange(completion, {}));
    }
    if (std::none_of(listeners_.begin(), listeners_.end(), busy)) return;
    enter(0);
  }
}

void UringLoop::arm_accept(Listener& listener) {
  if (!begun_ || listener.gone) return;
  io_uring_sqe& place = submission();
  ::io_uring_prep_multishot_accept(&place, listener.fd, nullptr, nullptr,
                                   SOCK_NONBLOCK | SOCK_CLOEXEC);
  place.user_data = tag_of(static_cast<Source*>(&listener), Operation::Accept);
  ++listener.operations;
  listener.under_way = Operation::Accept;
}

void UringLoop::arm_listener_poll(Listener& listener) {
  if (!begun_ || listener.gone) return;
  io_uring_sqe& place = submission();
  ::io_uring_prep_poll_add(&place, listener.fd, POLLIN);
  place.user_data = tag_of(static_cast<Source*>(&listener), Operation::AcceptPoll);
  ++listener.operations;
  listener.under_way = Operation::AcceptPoll;
}

void UringLoop::accept_done(Listener& listener, const sys::Completion& completion) {
  if (!completion.more()) --listener.operations;
  if (completion.result >= 0) {
    sys::Fd fd(completion.result);
    if (ending_) return;
    sys::Address peer = sys::peer_address(fd.get()).value_or(sys::Address());
    listener.acceptor->accepted({std::move(fd), peer});
  }
  if (completion.more() || listener.gone || ending_) return;
  // Not by unlisten_all(): the completion queue was full. Before Linux 6.14 that may be ECANCELED.
  if (completion.result >= 0 || completion.result == -ECANCELED) return arm_accept(listener);
  const Error error{"accept4", -completion.result};
  if (sys::concerns_one_connection(error.errno_value)) return arm_accept(listener);
  if (goes_on_after(listener, error)) arm_listener_poll(listener);
}

void UringLoop::accept_poll_done(Listener& listener, const sys::Completion& completion) {
  --listener.operations;
  if (listener.gone || ending_) return;  // ECANCELED: by unlisten_all()
  if (completion.result < 0) {           // ENOMEM
    listener.paused = true;
    return;
  }
  accept_now(listener, settings_.accepts_per_wake);
}

/// By accept4(2), as the epoll loop does it; then, if nothing stood in the way, by the ring again.
void UringLoop::accept_now(Listener& listener, std::size_t budget) {
  for (std::size_t i = 0; i < budget; ++i) {
    Result<sys::Accepted> accepted = sys::accept_from(listener.fd);
    if (!accepted && accepted.error().errno_value == EAGAIN) break;
    if (accepted) {
      listener.acceptor->accepted(std::move(*accepted));
    } else if (!goes_on_after(listener, accepted.error())) {
      return;
    }
  }
  arm_accept(listener);
}

/// False: the next accept waits for the next connection or the next tick.
bool UringLoop::goes_on_after(Listener& listener, Error error) {
  switch (listener.acceptor->accept_failed(error)) {
    case AfterFailure::GoOn:
      return true;
    case AfterFailure::WaitForOne:
      arm_listener_poll(listener);
      return false;
    case AfterFailure::Pause:
      listener.paused = true;
      return false;
  }
  return false;
}

Result<void> UringLoop::watch(int fd, Watcher& watcher) {
  watched_.push_back(std::make_unique<Watched>(fd, watcher));
  if (begun_) arm_watch(*watched_.back());
  return {};
}

void UringLoop::unwatch(int fd) {
  for (const std::unique_ptr<Watched>& watched : watched_) {
    if (watched->gone || watched->fd != fd) continue;
    watched->gone = true;
    if (watched->operations == 0) continue;
    // If the kernel has not taken the poll yet, it may find `fd` to be somebody else's by then: a
    // poll that nobody listens to, cancelled by the next submission.
    ++watched->operations;
    cancel(static_cast<Source*>(watched.get()), Operation::Watch, Operation::SourceCancel);
  }
}

/// One-shot, and again after each readable(): it tells in every round while there is something.
void UringLoop::arm_watch(Watched& watched) {
  io_uring_sqe& place = submission();
  ::io_uring_prep_poll_add(&place, watched.fd, POLLIN);
  place.user_data = tag_of(static_cast<Source*>(&watched), Operation::Watch);
  ++watched.operations;
}

void UringLoop::watch_done(Watched& watched, const sys::Completion& completion) {
  --watched.operations;
  if (!watched.gone && !ending_) watched.watcher->readable();
  if (watched.gone || ending_) return;
  if (completion.result >= 0) return arm_watch(watched);
  watched.paused = true;  // ENOMEM: what may have come was looked at above, and is at each tick
}

void UringLoop::forget_sources() {
  const auto over = [](const auto& source) { return source->gone && source->operations == 0; };
  std::erase_if(listeners_, over);
  std::erase_if(watched_, over);
}

}  // namespace pagewire::loop
