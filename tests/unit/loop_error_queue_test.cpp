// What a loop makes of a socket's error queue: completions of MSG_ZEROCOPY are no error, come also
// while reading is paused and nothing else happens, and a real error is still told apart. A stream
// that is over for its peer hears of them, too, also of those that a reset brings.
#include <gtest/gtest.h>

#include "conformance/harness.h"
#include "loop/loop.h"
#include "sys/clock.h"
#include "sys/zero_copy.h"

namespace pagewire::loop {
namespace {

struct Events {
  int notified = 0;
  int failed = 0;
  int ended = 0;
  std::uint32_t completed = 0;  ///< sends
  Error error;
};

class Sender final : public Stream {
 public:
  Sender(sys::Fd fd, Events& events) : Stream(std::move(fd)), events_(events) {}

 private:
  void received(std::span<const char>) override {}
  void ended() override { ++events_.ended; }
  void writable() override {}
  void timed_out() override {}
  void failed(Error error) override {
    ++events_.failed;
    events_.error = error;
    if (events_.ended > 0) take_completions();  // as a Connection that is Draining
  }
  void notified() override {
    ++events_.notified;
    take_completions();
  }
  void take_completions() {
    while (const auto range = sys::next_completion(fd())) {
      events_.completed += range->last - range->first + 1;
    }
  }

  Events& events_;
};

class LoopErrorQueue : public ::testing::TestWithParam<Engine> {
 protected:
  explicit LoopErrorQueue(const Settings& settings = {})
      : loop_(*make_loop(GetParam(), settings)) {}

  void SetUp() override {
    test::Connection connection = test::connect_over_loopback({});
    peer_ = std::move(connection.peer);
    if (!sys::allow_zero_copy(connection.sender.get())) GTEST_SKIP() << "no SO_ZEROCOPY";
    auto sender = std::make_unique<Sender>(std::move(connection.sender), events_);
    sender_ = sender.get();
    ASSERT_TRUE(loop_->attach(std::move(sender)));
    loop_->pause_reading(*sender_);
    for (int i = 0; i < 2; ++i) loop_->expect_notifications(*sender_);  // as often as one likes
  }

  void send_and_read() {
    const ssize_t sent =
        ::send(sender_->fd(), memory_.data(), memory_.size(), MSG_ZEROCOPY | MSG_NOSIGNAL);
    ASSERT_EQ(sent, static_cast<ssize_t>(memory_.size()));
    std::string got(memory_.size(), '\0');
    ASSERT_EQ(::recv(peer_.get(), got.data(), got.size(), MSG_WAITALL), sent);
  }

  void run_until(const std::function<bool()>& done) {
    const std::int64_t end = sys::monotonic_coarse_ms() + 60'000;
    loop_->run([&] {
      if (done() || sys::monotonic_coarse_ms() > end) loop_->stop();
    });
  }

  std::string memory_ = std::string(50'000, 'x');
  Events events_;
  std::unique_ptr<Loop> loop_;
  sys::Fd peer_;
  Stream* sender_ = nullptr;
};

TEST_P(LoopErrorQueue, EveryCompletionIsHeardOf) {
  std::uint32_t sends = 0;
  run_until([&] {
    if (events_.completed != sends) return false;
    if (sends == 5) return true;
    send_and_read();
    ++sends;
    return false;
  });
  EXPECT_EQ(events_.completed, 5U);
  EXPECT_GE(events_.notified, 5) << "each came by an edge of its own";
  EXPECT_EQ(events_.failed, 0);
  EXPECT_EQ(events_.ended, 0);
}

TEST_P(LoopErrorQueue, AnErrorBehindACompletionIsStillAnError) {
  send_and_read();
  sys::abort_on_close(peer_.get());
  peer_.close();
  run_until([&] { return events_.failed > 0; });
  EXPECT_EQ(events_.failed, 1);
  EXPECT_EQ(events_.error.errno_value, ECONNRESET);
}

TEST_P(LoopErrorQueue, AResetAfterTheEndTellsWhatItCompletes) {
  loop_->resume_reading(*sender_);
  ASSERT_EQ(::shutdown(peer_.get(), SHUT_WR), 0);
  std::uint32_t sends = 0;
  std::uint32_t before_reset = 0;
  run_until([&] {
    if (events_.ended == 0) return false;
    loop_->pause_reading(*sender_);  // as a Connection that is Draining
    if (peer_.is_open() && sends > 0) {
      before_reset = events_.completed;
      sys::abort_on_close(peer_.get());
      peer_.close();
    }
    const auto send = [&] {
      return ::send(sender_->fd(), memory_.data(), memory_.size(), MSG_ZEROCOPY | MSG_NOSIGNAL);
    };
    while (peer_.is_open() && send() > 0) ++sends;  // until it is full
    return sends > 0 && events_.completed == sends;
  });
  EXPECT_EQ(events_.ended, 1);
  EXPECT_LT(before_reset, sends) << "nothing was in flight: this shows nothing";
  EXPECT_EQ(events_.completed, sends);
}

/// Many streams have news in the same call, more than the completion queue has places for.
class LoopErrorQueueOverflow : public LoopErrorQueue {
 protected:
  LoopErrorQueueOverflow() : LoopErrorQueue(settings()) {}
  ~LoopErrorQueueOverflow() override { loop_.reset(); }  // its streams write into crowd_events_
  static Settings settings() {
    Settings settings;
    settings.ring = {.entries = 2, .completions = 2};
    return settings;
  }
  void SetUp() override {
    LoopErrorQueue::SetUp();
    for (int i = 0; i < 20; ++i) {
      int ends[2];
      ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
      crowd_.emplace_back(ends[1]);
      ASSERT_TRUE(loop_->attach(std::make_unique<Sender>(sys::Fd(ends[0]), crowd_events_)));
    }
  }
  Events crowd_events_;
  std::vector<sys::Fd> crowd_;
};

TEST_P(LoopErrorQueueOverflow, APollThatItEndedGoesOn) {
  std::uint32_t sends = 0;
  run_until([&] {
    if (events_.completed != sends) return false;
    if (sends == 5) return true;
    for (const sys::Fd& fd : crowd_) EXPECT_EQ(::send(fd.get(), "x", 1, 0), 1);
    send_and_read();
    ++sends;
    return false;
  });
  EXPECT_EQ(events_.completed, 5U);
  EXPECT_GT(loop_->counters().overflows, 0U);
}

INSTANTIATE_TEST_SUITE_P(Engines, LoopErrorQueue, ::testing::Values(Engine::Epoll, Engine::Uring),
                         [](const auto& test) { return std::string(name(test.param)); });
INSTANTIATE_TEST_SUITE_P(Engines, LoopErrorQueueOverflow, ::testing::Values(Engine::Uring),
                         [](const auto& test) { return std::string(name(test.param)); });

}  // namespace
}  // namespace pagewire::loop
