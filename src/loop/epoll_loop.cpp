// EpollLoop: the loop on epoll(7), edge-triggered.
//
// One registration a stream for its whole life (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET), so that
// a request costs epoll_wait, recv and send and no epoll_ctl. Kernel facts relied on (epoll(7),
// "edge-triggered"): a recv shorter than its buffer has emptied a stream socket, and the next byte
// makes a new edge; EPOLLOUT comes again only after a send said EAGAIN. Invariant: a retired stream
// stays in memory until the batch that retired it is over, because a later event of that batch may
// still point to it.
#include <netinet/in.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <utility>
#include <vector>

#include "base/check.h"
#include "loop/loop.h"
#include "loop/tasks.h"
#include "loop/timer_wheel.h"
#include "sys/clock.h"
#include "sys/epoll.h"
#include "sys/plain_calls.h"
#include "sys/socket.h"

namespace pagewire::loop {

class EpollLoop final : public Loop {
 public:
  EpollLoop(const Settings& settings, sys::Epoll epoll, sys::Wakeup wakeup)
      : settings_(settings),
        epoll_(std::move(epoll)),
        now_ns_(sys::monotonic_ns()),
        wheel_(now_ms()),
        receive_buffer_(settings.receive_buffer_bytes),
        events_(settings.events_per_wait),
        tasks_(std::move(wakeup)) {}
  ~EpollLoop() override;

  Result<void> watch_wakeup() { return epoll_.add(tasks_.fd(), EPOLLIN, wakeup_tag); }

  void run(const std::function<void()>& tick) override;

  Result<void> listen(int listener_fd, Acceptor& acceptor) override;
  void unlisten_all() override;
  Result<void> attach(std::unique_ptr<Stream> stream) override;
  void retire(Stream& stream) override;

  Result<void> watch(int fd, Watcher& watcher) override;
  void unwatch(int fd) override;

  void pause_reading(Stream& stream) override { stream.reading_paused_ = true; }
  void resume_reading(Stream& stream) override;
  void emptied(RawStream& stream, Emptied how) override;
  void await_writable(Stream& stream) override { stream.awaits_writable_ = true; }
  bool submit_send(Stream&, std::span<const iovec>, bool) override { return false; }
  void expect_notifications(Stream&) override {}  // EPOLLERR comes in any case
  void coalesce() override { coalesces_ = settings_.coalesce_us > 0; }
  void yield(Stream& stream) override;
  void set_deadline(Stream& stream, std::int64_t deadline_ms) override {
    wheel_.set(stream, deadline_ms);
  }
  void for_each(const std::function<void(Stream&)>& visit) override { members_.for_each(visit); }
  std::size_t stream_count() const override { return stream_count_; }
  Counters counters() const override { return counters_; }
  std::int64_t now_ns() const override { return now_ns_; }

  void post(std::function<void()> task) override { tasks_.post(std::move(task)); }
  void stop() override;

 private:
  struct Listener {
    int fd;
    Acceptor* acceptor;
    bool paused;  // out of descriptors or memory: looked at again at the next tick
  };

  struct Watched {
    int fd;
    Watcher* watcher;  // nullptr: the place is free
  };

  // Event tags: a Stream's address, or (Stream being aligned) an odd number: of its two lowest bits
  // the upper tells listeners from watched descriptors; the rest is an index.
  static constexpr std::uint64_t wakeup_tag = ~std::uint64_t{0};
  static constexpr std::uint64_t listener_mark = 1;
  static constexpr std::uint64_t watched_mark = 3;
  static constexpr std::uint64_t tag_of_listener(std::size_t index) {
    return listener_mark + 4 * index;
  }
  static constexpr std::uint64_t tag_of_watched(std::size_t index) {
    return watched_mark + 4 * index;
  }

  void pause_to_coalesce();
  int wait_ms() const;
  void dispatch(const epoll_event& event);
  void dispatch_stream(Stream& stream, std::uint32_t events);
  void accept_some(Listener& listener, std::size_t budget);
  void read_from(Stream& stream);
  void let_read(RawStream& stream);
  void run_ready();
  void run_tick(const std::function<void()>& tick);
  void bury();
  void make_ready(Stream& stream);

  Settings settings_;
  sys::Epoll epoll_;
  std::int64_t now_ns_;  // read once a round
  std::int64_t next_tick_ms_ = 0;
  TimerWheel wheel_;
  std::vector<char> receive_buffer_;
  std::vector<epoll_event> events_;
  std::vector<Listener> listeners_;
  std::vector<Watched> watched_;
  IntrusiveList<Stream, MemberNode> members_;
  IntrusiveList<Stream, ReadyNode> ready_;
  std::vector<Stream*> retired_;
  std::size_t stream_count_ = 0;
  bool coalesces_ = false;  // this round
  Counters counters_;

  std::atomic<bool> stopping_{false};
  Tasks tasks_;
};

Result<std::unique_ptr<Loop>> make_epoll_loop(const Settings& settings) {
  Result<sys::Epoll> epoll = sys::Epoll::create();
  if (!epoll) return tl::unexpected(epoll.error());
  Result<sys::Wakeup> wakeup = sys::Wakeup::create();
  if (!wakeup) return tl::unexpected(wakeup.error());
  auto made = std::make_unique<EpollLoop>(settings, std::move(*epoll), std::move(*wakeup));
  if (Result<void> watched = made->watch_wakeup(); !watched) return tl::unexpected(watched.error());
  return std::unique_ptr<Loop>(std::move(made));
}

EpollLoop::~EpollLoop() {
  members_.for_each([this](Stream& stream) { retire(stream); });
  bury();
}

void EpollLoop::run(const std::function<void()>& tick) {
  while (!stopping_.load(std::memory_order_relaxed)) {
    if (coalesces_ && ready_.empty()) pause_to_coalesce();
    const std::span<epoll_event> came = epoll_.wait(events_, wait_ms());
    now_ns_ = sys::monotonic_ns();
    ++counters_.rounds;
    counters_.events += came.size();
    for (const epoll_event& event : came) dispatch(event);
    run_ready();
    if (now_ms() >= next_tick_ms_) run_tick(tick);
    bury();
  }
  bury();
}

/// Up to the thread's timer slack longer (prctl(2): 50 us). EINTR, a signal: the pause is over.
void EpollLoop::pause_to_coalesce() {
  coalesces_ = false;
  const timespec pause{.tv_sec = 0, .tv_nsec = settings_.coalesce_us * 1'000};
  ::clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
}

int EpollLoop::wait_ms() const {
  if (!ready_.empty()) return 0;
  return static_cast<int>(
      std::clamp<std::int64_t>(next_tick_ms_ - now_ms(), 0, TimerWheel::tick_ms));
}

void EpollLoop::dispatch(const epoll_event& event) {
  const std::uint64_t tag = event.data.u64;
  if ((tag & 1) == 0) return dispatch_stream(*reinterpret_cast<Stream*>(tag), event.events);
  if (tag == wakeup_tag) return tasks_.run();
  const std::size_t index = tag / 4;
  if ((tag & 3) == watched_mark) {
    // An event of this batch may name a descriptor that an earlier one has taken out.
    if (watched_[index].watcher != nullptr) watched_[index].watcher->readable();
    return;
  }
  // As above, of a listener.
  if (index < listeners_.size()) accept_some(listeners_[index], settings_.accepts_per_wake);
}

void EpollLoop::dispatch_stream(Stream& stream, std::uint32_t events) {
  if (stream.retired_) return;
  if ((events & EPOLLERR) != 0) {
    // An error ends a connection, so EPOLLHUP comes with it or right behind it. Without one it is
    // the error queue alone, as often as a peer acknowledges sends of MSG_ZEROCOPY: no call for it.
    const int error = (events & EPOLLHUP) != 0 ? sys::take_error(stream.fd()) : 0;
    if (error != 0) return stream.failed(Error{"socket", error});
    stream.notified();
    if (stream.retired_) return;
  }
  // Writing first: what waits to go out is older than what comes in.
  if ((events & EPOLLOUT) != 0 && stream.awaits_writable_) {
    stream.awaits_writable_ = false;
    stream.writable();
    if (stream.retired_) return;
  }
  if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) stream.hung_up_ = true;
  // A read stops short at TCP's urgent mark as well, with bytes behind it.
  if ((events & EPOLLPRI) != 0) stream.marked_ = true;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLPRI)) != 0) {
    stream.readable_ = true;
    if (stream.raw_) return let_read(static_cast<RawStream&>(stream));
    read_from(stream);
  }
}

void EpollLoop::read_from(Stream& stream) {
  constexpr int turns = 8;  // then others: a peer that sends without end must not hold the worker
  for (int turn = 0; turn < turns; ++turn) {
    if (stream.retired_ || stream.reading_paused_ || !stream.readable_) return;
    const ssize_t n =
        sys::plain_recv(stream.fd(), receive_buffer_.data(), receive_buffer_.size(), 0);
    if (n > 0) {
      const auto size = static_cast<std::size_t>(n);
      // Short: empty, unless more is known to stand behind the bytes and must still be read.
      const bool more = stream.hung_up_ || stream.marked_;
      if (size < receive_buffer_.size() && !more) stream.readable_ = false;
      stream.received(std::span<const char>(receive_buffer_.data(), size));
    } else if (n == 0) {
      stream.readable_ = false;
      stream.hung_up_ = false;
      return stream.ended();
    } else if (errno == EAGAIN) {
      stream.readable_ = false;
      stream.marked_ = false;
    } else if (errno != EINTR) {
      return stream.failed(Error{"recv", errno});  // ECONNRESET, ETIMEDOUT, ENOMEM
    }
  }
  if (!stream.retired_) make_ready(stream);
}

/// What it leaves behind makes no new edge, so it is asked again in the next round.
void EpollLoop::let_read(RawStream& stream) {
  if (stream.reading_paused_ || !stream.readable_) return;
  stream.readable();
  if (!stream.retired_ && !stream.reading_paused_ && stream.readable_) make_ready(stream);
}

void EpollLoop::emptied(RawStream& stream, Emptied how) {
  // Bytes behind an urgent mark, and a FIN behind all, that were there already when the bytes
  // before them were told of have no edge of their own: one more read finds each of them.
  stream.readable_ = how == Emptied::ForNow && (stream.marked_ || stream.hung_up_);
  if (!std::exchange(stream.marked_, false)) stream.hung_up_ = false;
  if (stream.readable_ && !stream.reading_paused_) make_ready(stream);
}

Result<void> EpollLoop::listen(int listener_fd, Acceptor& acceptor) {
  // Level-triggered: what the budget of one wake leaves in the queue is reported again.
  Result<void> added = epoll_.add(listener_fd, EPOLLIN, tag_of_listener(listeners_.size()));
  if (added) listeners_.push_back({listener_fd, &acceptor, false});
  return added;
}

void EpollLoop::unlisten_all() {
  for (Listener& listener : listeners_) {
    constexpr std::size_t whole_queue = 65'536;  // net.core.somaxconn's usual bound, and a limit
    accept_some(listener, whole_queue);
    epoll_.remove(listener.fd);
  }
  listeners_.clear();
}

void EpollLoop::accept_some(Listener& listener, std::size_t budget) {
  for (std::size_t i = 0; i < budget; ++i) {
    Result<sys::Accepted> accepted = sys::accept_from(listener.fd);
    if (accepted) {
      listener.acceptor->accepted(std::move(*accepted));
      continue;
    }
    if (accepted.error().errno_value == EAGAIN) return;
    switch (listener.acceptor->accept_failed(accepted.error())) {
      case AfterFailure::GoOn:
        continue;
      case AfterFailure::WaitForOne:
        return;
      case AfterFailure::Pause:
        break;
    }
    // Still readable, so epoll would report it without end: silence it until the next tick.
    const auto index = static_cast<std::size_t>(&listener - listeners_.data());
    static_cast<void>(epoll_.modify(listener.fd, 0, tag_of_listener(index)));
    listener.paused = true;
    return;
  }
}

Result<void> EpollLoop::watch(int fd, Watcher& watcher) {
  const auto is_free = [](const Watched& place) { return place.watcher == nullptr; };
  auto place = std::find_if(watched_.begin(), watched_.end(), is_free);
  if (place == watched_.end()) place = watched_.insert(place, Watched{});
  const auto index = static_cast<std::size_t>(place - watched_.begin());
  Result<void> added = epoll_.add(fd, EPOLLIN, tag_of_watched(index));
  if (added) *place = {fd, &watcher};
  return added;
}

void EpollLoop::unwatch(int fd) {
  for (Watched& watched : watched_) {
    if (watched.watcher == nullptr || watched.fd != fd) continue;
    epoll_.remove(fd);
    watched = {};
  }
}

Result<void> EpollLoop::attach(std::unique_ptr<Stream> stream) {
  const auto tag = reinterpret_cast<std::uint64_t>(stream.get());
  PW_CHECK((tag & 1) == 0);
  const std::uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP |
                               static_cast<std::uint32_t>(EPOLLET) |
                               (stream->raw_ ? std::uint32_t{EPOLLPRI} : 0U);
  if (Result<void> added = epoll_.add(stream->fd(), events, tag); !added) return added;
  members_.push_back(*stream.release());
  ++stream_count_;
  return {};
}

void EpollLoop::retire(Stream& stream) {
  if (stream.retired_) return;
  stream.retired_ = true;
  wheel_.forget(stream);
  static_cast<ReadyNode&>(stream).unlink();
  static_cast<MemberNode&>(stream).unlink();
  // close(2) takes a socket out of the set only if nobody else has it open. A send that the thread
  // of a ring has (SQPOLL) does: its events would name a stream that is no more.
  // A raw stream's socket is nobody's but its own.
  if (!stream.raw_) epoll_.remove(stream.fd());
  stream.owned_fd().close();
  --stream_count_;
  retired_.push_back(&stream);
}

void EpollLoop::resume_reading(Stream& stream) {
  stream.reading_paused_ = false;
  if (stream.readable_) make_ready(stream);
}

void EpollLoop::yield(Stream& stream) {
  stream.yielded_ = true;
  make_ready(stream);
}

void EpollLoop::make_ready(Stream& stream) {
  if (!static_cast<ReadyNode&>(stream).linked()) ready_.push_back(stream);
}

void EpollLoop::run_ready() {
  // Only those that stand here now; who yields again goes into the next round.
  IntrusiveList<Stream, ReadyNode> round;
  while (Stream* const stream = ready_.pop_front()) round.push_back(*stream);
  while (Stream* const stream = round.pop_front()) {
    if (stream->yielded_) {
      stream->yielded_ = false;
      stream->writable();
    }
    if (stream->retired_) continue;
    if (stream->raw_) {
      let_read(static_cast<RawStream&>(*stream));
    } else {
      read_from(*stream);
    }
  }
}

void EpollLoop::run_tick(const std::function<void()>& tick) {
  next_tick_ms_ = now_ms() + TimerWheel::tick_ms;
  wheel_.advance(now_ms(), [](Stream& stream) { stream.timed_out(); });
  for (std::size_t index = 0; index < listeners_.size(); ++index) {
    Listener& listener = listeners_[index];
    if (!listener.paused) continue;
    listener.paused = false;
    static_cast<void>(epoll_.modify(listener.fd, EPOLLIN, tag_of_listener(index)));
  }
  tick();
}

void EpollLoop::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  tasks_.wake();
}

void EpollLoop::bury() {
  for (Stream* const stream : retired_) delete stream;
  retired_.clear();
}

}  // namespace pagewire::loop
