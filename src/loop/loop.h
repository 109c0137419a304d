// loop: one worker's event loop, completion-shaped.
//
// A Stream (a connection) is told received(bytes), ended, writable, timed_out and failed; it never
// sees epoll or io_uring. Loop is the only virtual seam on the data path. Everything runs on the
// thread that calls run(), except post() and stop().
//
// Lifetime: the loop never deletes while it may still hold an event for a stream. A stream is
// handed over by attach() and ends with retire(): from then on it hears nothing, and it is deleted
// once no event of the current batch can refer to it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/intrusive_list.h"
#include "base/result.h"
#include "sys/fd.h"
#include "sys/socket.h"

namespace pagewire::loop {

struct TimerNode : ListNode {};
struct ReadyNode : ListNode {};
struct MemberNode : ListNode {};

/// One connected socket and whoever answers on it. Called only by its loop, never re-entered.
class Stream : private TimerNode, private ReadyNode, private MemberNode {
 public:
  explicit Stream(sys::Fd fd) : fd_(std::move(fd)) {}
  virtual ~Stream() = default;

  /// Bytes from the peer; valid during the call only. Not called while reading is paused.
  virtual void received(std::span<const char> bytes) = 0;
  /// The peer will send nothing more (FIN). Comes after all bytes; at most once.
  virtual void ended() = 0;
  /// The socket takes bytes again (after Loop::await_writable), or it is this stream's turn again
  /// (after Loop::yield).
  virtual void writable() = 0;
  /// The deadline of Loop::set_deadline has passed.
  virtual void timed_out() = 0;
  /// The socket is broken (reset, unreachable ...). At most once; nothing follows.
  virtual void failed(Error error) = 0;
  /// The socket's error queue may hold something that is no error of the connection: completions of
  /// MSG_ZEROCOPY (recvmsg(2), MSG_ERRQUEUE). Comes once an edge; read until EAGAIN.
  virtual void notified() {}

  int fd() const { return fd_.get(); }

 protected:
  sys::Fd& owned_fd() { return fd_; }

 private:
  friend class Loop;
  friend class TimerWheel;
  friend class EpollLoop;
  template <class T, class Node>
  friend class ::pagewire::IntrusiveList;

  sys::Fd fd_;
  std::int64_t deadline_ms_ = 0;  ///< 0: none
  std::int64_t slot_ms_ = 0;      ///< when the wheel looks at this stream next
  bool reading_paused_ = false;
  bool readable_ = false;  ///< an edge came that has not been read to its end
  bool hung_up_ = false;   ///< EPOLLRDHUP came: there is a FIN behind the bytes
  bool awaits_writable_ = false;
  bool yielded_ = false;
  bool retired_ = false;
};

/// What accepting does after accept4 failed.
enum class AfterFailure : std::uint8_t {
  GoOn,        ///< the queue has become shorter: again at once
  WaitForOne,  ///< nothing waits: when the next connection comes
  Pause,       ///< nothing can be done: at the next tick
};

/// Accepts on one listening socket.
class Acceptor {
 public:
  virtual ~Acceptor() = default;
  virtual void accepted(sys::Accepted connection) = 0;
  /// accept4 failed with something else than "nothing waits": EMFILE, ENFILE, ENOBUFS, ENOMEM.
  virtual AfterFailure accept_failed(Error error) = 0;
};

/// Told when a descriptor that is no connection (a ring's, an eventfd) has something to read.
class Watcher {
 public:
  virtual ~Watcher() = default;
  virtual void readable() = 0;
};

struct Settings {
  std::size_t receive_buffer_bytes = 64 * 1024;  ///< one for the whole worker
  std::size_t events_per_wait = 256;
  std::size_t accepts_per_wake = 64;  ///< then others get their turn
};

class Loop {
 public:
  virtual ~Loop() = default;

  /// Starts accepting. `listener_fd` stays the caller's; `acceptor` must outlive listening.
  virtual Result<void> listen(int listener_fd, Acceptor& acceptor) = 0;
  /// Accepts what is queued already (closing a listener would reset those), then stops accepting on
  /// all listeners. The descriptors are the caller's to close.
  virtual void unlisten_all() = 0;

  /// Takes the stream over; reading starts. On error the stream is deleted.
  virtual Result<void> attach(std::unique_ptr<Stream> stream) = 0;
  /// Ends the stream: closes its socket now, deletes it after the current batch.
  virtual void retire(Stream& stream) = 0;

  /// Calls `watcher.readable()` in every round in which `fd` is readable (level-triggered), until
  /// unwatch(). Both stay the caller's and must outlive that. Errors: as epoll_ctl(2).
  virtual Result<void> watch(int fd, Watcher& watcher) = 0;
  virtual void unwatch(int fd) = 0;

  virtual void pause_reading(Stream& stream) = 0;
  virtual void resume_reading(Stream& stream) = 0;
  /// A step met EAGAIN: writable() is called once when the socket takes bytes again.
  virtual void await_writable(Stream& stream) = 0;
  /// Its writable() is called again in the next round, after others have had their turn.
  virtual void yield(Stream& stream) = 0;
  /// timed_out() is called at or up to one wheel tick (100 ms) after `deadline_ms`; 0 is never.
  /// Cheap: moving a deadline further off is one store.
  virtual void set_deadline(Stream& stream, std::int64_t deadline_ms) = 0;
  /// Calls visit on every attached stream; visit may retire it.
  virtual void for_each(const std::function<void(Stream&)>& visit) = 0;
  virtual std::size_t stream_count() const = 0;

  /// CLOCK_MONOTONIC in ns as of the current batch, read once for all of it; never 0.
  virtual std::int64_t now_ns() const = 0;
  std::int64_t now_ms() const { return now_ns() / 1'000'000; }

  /// Until stop(). Calls `tick` about every 100 ms.
  virtual void run(const std::function<void()>& tick) = 0;
  /// Any thread: runs `task` on the loop's thread soon.
  virtual void post(std::function<void()> task) = 0;
  /// Any thread: run() returns after the current batch.
  virtual void stop() = 0;
};

/// Lets a loop reap a worker's lanes (egress::UringLanes, which this room does not know: what has
/// fds() and reap()) when they have completions. Both must outlive it. The loop's thread.
template <class Lanes>
class LaneWatchers final : private Watcher {
 public:
  LaneWatchers(Loop& loop, Lanes& lanes) : loop_(loop), lanes_(lanes) {}
  LaneWatchers(const LaneWatchers&) = delete;
  LaneWatchers& operator=(const LaneWatchers&) = delete;
  ~LaneWatchers() override {
    for (const int fd : watched_) loop_.unwatch(fd);
  }
  /// Those that are open now. Errors: as Loop::watch().
  Result<void> watch() {
    for (const int fd : lanes_.fds()) {
      if (Result<void> added = loop_.watch(fd, *this); !added) return added;
      watched_.push_back(fd);
    }
    return {};
  }

 private:
  void readable() override { lanes_.reap(); }

  Loop& loop_;
  Lanes& lanes_;
  std::vector<int> watched_;
};

/// epoll(7), edge-triggered. Errors: EMFILE and its like.
Result<std::unique_ptr<Loop>> make_epoll_loop(const Settings& settings);

}  // namespace pagewire::loop
