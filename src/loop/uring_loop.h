// UringLoop: the loop on io_uring(7). Private to this room.
//
// Each stream has one multishot receive from a ring of provided buffers that all streams share;
// sends of memory go out together, one io_uring_enter(2) a round; a stream that met a full socket
// has a multishot poll besides, for the rest of its life. Everything else (sendfile, splice) stays
// the plain system call of whoever steps. Where things are: uring_loop.cpp has the rounds and what
// streams share with listeners; uring_stream.cpp receiving, sending, readiness and the end of a
// stream; uring_accept.cpp listeners and watched descriptors.
//
// Invariants:
// - An operation's tag is the address of its Stream or Source. `operations_` counts the submissions
//   that name an object and are not over; the object lives, and a stream's descriptor stays open,
//   until it is 0. So neither a completion nor a submission can meet a foreign object or a
//   descriptor's next owner.
// - A provided buffer is given back before the next completion is looked at: what comes while a
//   stream is paused is copied out, and its receive cancelled. So no stream can starve others, and
//   a receive that found no buffer (ENOBUFS) finds one in the next round, or in the one after it
//   where completions of this one had to be left for the next. What a paused stream
//   holds is bounded by what the completions of one pass hold, up to the cancel's own (about 256
//   KiB on Linux 6.18 with buffers of 4 KiB).
// - Before the first run() nothing is submitted: the ring belongs to the thread that calls run().
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "base/check.h"
#include "loop/loop.h"
#include "loop/tasks.h"
#include "loop/timer_wheel.h"
#include "sys/ring.h"

namespace pagewire::loop {

class UringLoop final : public Loop, private Watcher {
 public:
  UringLoop(const Settings& settings, sys::Ring ring, sys::BufferRing buffers, sys::Wakeup wakeup);
  ~UringLoop() override;

  void run(const std::function<void()>& tick) override;

  Result<void> listen(int listener_fd, Acceptor& acceptor) override;
  void unlisten_all() override;
  Result<void> attach(std::unique_ptr<Stream> stream) override;
  void retire(Stream& stream) override;

  Result<void> watch(int fd, Watcher& watcher) override;
  void unwatch(int fd) override;

  void pause_reading(Stream& stream) override { stream.reading_paused_ = true; }
  void resume_reading(Stream& stream) override;
  void emptied(RawStream&, Emptied) override {}  // there are none: attach() refuses them
  void await_writable(Stream& stream) override;
  bool submit_send(Stream& stream, std::span<const iovec> pieces, bool more) override;
  void expect_notifications(Stream& stream) override;
  void yield(Stream& stream) override;
  void set_deadline(Stream& stream, std::int64_t deadline_ms) override {
    wheel_.set(stream, deadline_ms);
  }
  void for_each(const std::function<void(Stream&)>& visit) override { members_.for_each(visit); }
  std::size_t stream_count() const override { return stream_count_; }
  std::int64_t now_ns() const override { return now_ns_; }
  Counters counters() const override { return counters_; }

  void post(std::function<void()> task) override { tasks_.post(std::move(task)); }
  void stop() override;

 private:
  /// What a tag's lowest three bits say; the rest is an address.
  enum class Operation : std::uint64_t {
    Receive,
    Send,
    Poll,
    Cancel,  // of one of the three above
    Accept,
    AcceptPoll,  // of a listener that is out of descriptors
    Watch,
    SourceCancel,  // of one of the three above
  };
  static constexpr std::uint64_t operation_bits = 7;

  /// A descriptor of the caller's that has one operation at a time.
  struct alignas(operation_bits + 1) Source {
    explicit Source(int number) : fd(number) {}
    int fd;
    std::uint32_t operations = 0;
    bool gone = false;  // the caller wants no more of it; `fd` may be anything
  };
  struct Listener : Source {
    Listener(int number, Acceptor& told) : Source(number), acceptor(&told) {}
    Acceptor* acceptor;
    Operation under_way = Operation::Accept;  // or AcceptPoll
    bool paused = false;  // out of descriptors or memory: looked at again at the next tick
  };
  struct Watched : Source {
    Watched(int number, Watcher& told) : Source(number), watcher(&told) {}
    Watcher* watcher;
    bool paused = false;  // the poll failed: begun again at the next tick
  };
  /// What a send of several pieces points to until the kernel has taken the submission.
  static constexpr std::size_t pieces_per_send = 4;
  struct Gathered {
    msghdr message;
    std::array<iovec, pieces_per_send> pieces;
  };

  // The rounds (uring_loop.cpp)
  void begin();
  void turn(int wait_ms);
  int wait_ms() const;
  void enter(int wait_ms);
  void submit_sends();
  void dispatch(const sys::Completion& completion);
  io_uring_sqe& submission();
  static std::uint64_t tag_of(const void* object, Operation operation);
  void cancel(const void* object, Operation operation, Operation as);
  void run_ready();
  void run_tick(const std::function<void()>& tick);
  void make_ready(Stream& stream);
  void settle_dying();
  void bury();
  void readable() override { tasks_.run(); }  // the wake-up's

  // Streams (uring_stream.cpp)
  void arm_receive(Stream& stream);
  void arm_poll(Stream& stream);
  void pump(Stream& stream);
  void receive_done(Stream& stream, const sys::Completion& completion);
  void take_bytes(Stream& stream, const sys::Completion& completion);
  void receive_failed(Stream& stream, int errno_value);
  void send_done(Stream& stream, const sys::Completion& completion);
  void poll_done(Stream& stream, const sys::Completion& completion);
  void fail(Stream& stream, Error error);
  void operation_over(Stream& stream);
  void let_go(Stream& stream);

  // Listeners and watched descriptors (uring_accept.cpp)
  void arm_accept(Listener& listener);
  void arm_listener_poll(Listener& listener);
  void arm_watch(Watched& watched);
  void accept_done(Listener& listener, const sys::Completion& completion);
  void accept_poll_done(Listener& listener, const sys::Completion& completion);
  void accept_now(Listener& listener, std::size_t budget);
  bool goes_on_after(Listener& listener, Error error);
  void watch_done(Watched& watched, const sys::Completion& completion);
  void finish_accepts();
  void forget_sources();

  Settings settings_;
  sys::BufferRing buffers_;  // goes after the ring, which the kernel may still fill it by
  sys::Ring ring_;
  std::vector<Gathered> gathered_;     // by place in the ring
  std::vector<sys::Completion> came_;  // tag 0: looked at already
  std::size_t looked_at_ = 0;          // of came_
  std::int64_t now_ns_;                // read once a round
  std::int64_t next_tick_ms_ = 0;
  TimerWheel wheel_;
  Counters counters_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::unique_ptr<Watched>> watched_;
  IntrusiveList<Stream, MemberNode> members_;
  IntrusiveList<Stream, ReadyNode> ready_;
  IntrusiveList<Stream, MemberNode> dying_;  // retired, and the kernel has operations of theirs
  std::vector<Stream*> retired_;             // and it has none: deleted when the round is over
  std::size_t dying_count_ = 0;
  std::size_t stream_count_ = 0;
  std::thread::id owner_;
  bool begun_ = false;
  bool ending_ = false;
  bool sends_queued_ = false;  // and not handed over

  std::atomic<bool> stopping_{false};
  Tasks tasks_;
};

}  // namespace pagewire::loop
