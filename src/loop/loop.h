// loop: one worker's event loop, completion-shaped.
//
// A Stream (a connection) is told received(bytes), ended, writable, timed_out and failed; it never
// sees epoll or io_uring. Loop is the only virtual seam on the data path. Everything runs on the
// thread that calls run(), except post() and stop().
//
// Lifetime: the loop never deletes while it may still hold an event for a stream. A stream is
// handed over by attach() and ends with retire(): from then on it hears nothing, and it is deleted
// once no event of the current batch, and no operation that the kernel has, can refer to it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sys/uio.h>

#include "base/intrusive_list.h"
#include "base/result.h"
#include "base/units.h"
#include "sys/fd.h"
#include "sys/ring_settings.h"
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
  /// The socket is broken (reset, unreachable ...). At most once; nothing follows but notified().
  /// After ended() a loop may tell of it by notified() alone.
  virtual void failed(Error error) = 0;
  /// The socket's error queue may hold something that is no error of the connection: completions of
  /// MSG_ZEROCOPY (recvmsg(2), MSG_ERRQUEUE). Comes once an edge; read until EAGAIN.
  virtual void notified() {}
  /// A send of Loop::submit_send is over: what the socket took (it may be less than was offered),
  /// or send(2)'s error (EAGAIN: it was full). Never called from within submit_send.
  virtual void sent(Result<ByteCount>) {}

  int fd() const { return fd_.get(); }

 protected:
  sys::Fd& owned_fd() { return fd_; }

 private:
  friend class Loop;
  friend class RawStream;
  friend class TimerWheel;
  friend class EpollLoop;
  friend class UringLoop;
  template <class T, class Node>
  friend class ::pagewire::IntrusiveList;

  sys::Fd fd_;
  std::int64_t deadline_ms_ = 0;  ///< 0: none
  std::int64_t slot_ms_ = 0;      ///< when the wheel looks at this stream next
  bool raw_ = false;              ///< it is a RawStream
  bool reading_paused_ = false;
  bool readable_ = false;  ///< an edge came that has not been read to its end
  bool hung_up_ = false;   ///< EPOLLRDHUP came: there is a FIN behind the bytes
  bool marked_ = false;    ///< EPOLLPRI came: there may be bytes behind TCP's urgent mark
  bool awaits_writable_ = false;
  bool yielded_ = false;
  bool notifies_ = false;  ///< expect_notifications() was called
  bool retired_ = false;

  // UringLoop's:
  /// Received while reading was paused: at most what the completions of one pass hold. No heap
  /// memory while empty.
  std::string held_;
  std::uint32_t operations_ = 0;    ///< submissions that name this stream and are not over
  bool receiving_ = false;          ///< a multishot receive is under way
  bool receive_cancelled_ = false;  ///< and a cancel of it
  bool polling_ = false;            ///< a multishot poll is under way
  bool sending_ = false;
  bool end_held_ = false;    ///< the FIN came; ended() has not been called
  bool input_over_ = false;  ///< ended() or failed() has been called
};

/// A stream that reads by itself: by splice(2), or into memory of its own. The loop tells when, and
/// the stream tells the loop, by Loop::emptied(), when it has read all that was there: edges come
/// for what arrives after that, and what was left behind is told of again.
///
/// Only loops on epoll(7) have it: io_uring's multishot receive takes the bytes before anybody
/// could splice them, and splicing goes by readiness, of which epoll tells most cheaply.
class RawStream : public Stream {
 public:
  explicit RawStream(sys::Fd fd) : Stream(std::move(fd)) { raw_ = true; }

  /// The socket has bytes or a FIN to read. Called once an edge, and again in each later round
  /// until Loop::emptied() is called. Not called while reading is paused. After a reset comes
  /// failed() instead.
  virtual void readable() = 0;

 private:
  void received(std::span<const char>) final {}
  void ended() final {}
};

/// How far a RawStream has read.
enum class Emptied : std::uint8_t {
  ForNow,   ///< a read said EAGAIN, or recv(2) less than it was asked for
  ForGood,  ///< a read said 0: there is nothing behind the FIN
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
  std::size_t receive_buffer_bytes = 64 * 1024;  ///< epoll: one for the whole worker
  std::size_t events_per_wait = 256;             ///< epoll
  std::size_t accepts_per_wake = 64;             ///< then others get their turn
  std::int64_t coalesce_us = 0;                  ///< epoll: of Loop::coalesce(); 0: never
  sys::RingSettings ring{};                      ///< io_uring
  sys::BufferSettings buffers{};                 ///< io_uring: those of the whole worker
};

/// What a loop has met since it was made.
struct Counters {
  std::uint64_t rounds = 0;  ///< calls that waited for events and returned; a tick is one, too
  std::uint64_t events = 0;  ///< that they brought
  // io_uring's; 0 for epoll:
  std::uint64_t enters = 0;      ///< calls of io_uring_enter
  std::uint64_t overflows = 0;   ///< rounds that found the completion queue overflown
  std::uint64_t no_buffers = 0;  ///< receives that found no provided buffer (ENOBUFS)
};

class Loop {
 public:
  virtual ~Loop() = default;

  /// Starts accepting. `listener_fd` stays the caller's; `acceptor` must outlive listening.
  virtual Result<void> listen(int listener_fd, Acceptor& acceptor) = 0;
  /// Accepts what is queued already (closing a listener would reset those), then stops accepting on
  /// all listeners. The descriptors are the caller's to close.
  virtual void unlisten_all() = 0;

  /// Takes the stream over; reading starts. On error the stream is deleted. EOPNOTSUPP: a
  /// RawStream, and this loop is not epoll's.
  virtual Result<void> attach(std::unique_ptr<Stream> stream) = 0;
  /// Ends the stream: closes its socket and deletes it after the current batch, or once the kernel
  /// has given back the operations that name it.
  virtual void retire(Stream& stream) = 0;

  /// Calls `watcher.readable()` in every round in which `fd` is readable (level-triggered), until
  /// unwatch(). Both stay the caller's and must outlive that. Errors: as epoll_ctl(2).
  virtual Result<void> watch(int fd, Watcher& watcher) = 0;
  virtual void unwatch(int fd) = 0;

  virtual void pause_reading(Stream& stream) = 0;
  virtual void resume_reading(Stream& stream) = 0;
  /// This raw stream has read what was there: readable() is called when something comes.
  virtual void emptied(RawStream& stream, Emptied how) = 0;
  /// A step met EAGAIN: writable() is called once when the socket takes bytes again.
  virtual void await_writable(Stream& stream) = 0;
  /// Sends these pieces together with the other sends of this round, in one system call; sent()
  /// tells. `more`: as MSG_MORE. False: this loop cannot (epoll; too many pieces; before run()),
  /// and nothing was done. At most one at a time. What the pieces point to must stay as it is
  /// until sent() or, after retire(), until the stream is deleted; the pieces themselves need not.
  virtual bool submit_send(Stream& stream, std::span<const iovec> pieces, bool more) = 0;
  /// From now on notified() is called. Before the first MSG_ZEROCOPY on this stream; may be called
  /// for every transfer: calls after the first one change nothing.
  virtual void expect_notifications(Stream& stream) = 0;
  /// Bulk has gone through in this round. Once no stream waits for its turn, the loop pauses for
  /// Settings::coalesce_us before it asks for events, as interrupt moderation of a NIC does: what
  /// arrives meanwhile is moved in fewer, longer turns, each of which wakes a peer at most once.
  virtual void coalesce() {}
  /// Its writable() is called again in the next round, after others have had their turn.
  virtual void yield(Stream& stream) = 0;
  /// timed_out() is called at or up to 200 ms after `deadline_ms` (a slot of the wheel, and a tick
  /// that comes to it), later only if a round takes longer; 0 is never.
  /// Cheap: moving a deadline further off is one store.
  virtual void set_deadline(Stream& stream, std::int64_t deadline_ms) = 0;
  /// Calls visit on every attached stream; visit may retire it.
  virtual void for_each(const std::function<void(Stream&)>& visit) = 0;
  virtual std::size_t stream_count() const = 0;
  virtual Counters counters() const = 0;

  /// CLOCK_MONOTONIC in ns as of the current batch, read once for all of it; never 0.
  virtual std::int64_t now_ns() const = 0;
  std::int64_t now_ms() const { return now_ns() / 1'000'000; }

  /// Until stop(). Calls `tick` about every 100 ms. Called once more after that it only finishes
  /// what was retired meanwhile, and returns.
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
/// io_uring(7). Errors: as sys::Ring::create and sys::BufferRing::create. All its calls but post()
/// and stop() come from one thread from the first run() on; it may be destroyed by another one once
/// that thread has ended.
Result<std::unique_ptr<Loop>> make_uring_loop(const Settings& settings);

// ---------------------------------------------------------------- choosing (engine.cpp)

enum class Engine : std::uint8_t { Auto, Epoll, Uring };
std::string_view name(Engine engine);

/// Whether this process can have an io_uring loop: makes a ring and an operation, and measures
/// nothing. Takes about a millisecond.
Result<void> probe_uring();

struct EngineChoice {
  Engine engine = Engine::Epoll;  ///< never Auto
  std::string note;               ///< for the log when Auto could not have what it prefers
};
/// What Auto takes where both work: the one constant to change when measurements say so.
inline constexpr Engine preferred_engine = Engine::Uring;
/// What Auto becomes; others stay as they are. `probe` is called only if the answer hangs on it.
EngineChoice choose_engine(Engine wanted, Engine preferred,
                           const std::function<Result<void>()>& probe);

/// A loop of this kind, which is not Auto.
Result<std::unique_ptr<Loop>> make_loop(Engine engine, const Settings& settings);

}  // namespace pagewire::loop
