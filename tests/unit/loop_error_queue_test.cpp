// What a loop makes of a socket's error queue: completions of MSG_ZEROCOPY are no error, come also
// while reading is paused and nothing else happens, and a real error is still told apart.
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
  }
  void notified() override {
    ++events_.notified;
    while (const auto range = sys::next_completion(fd())) {
      events_.completed += range->last - range->first + 1;
    }
  }

  Events& events_;
};

class LoopErrorQueue : public ::testing::Test {
 protected:
  void SetUp() override {
    test::Connection connection = test::connect_over_loopback({});
    peer_ = std::move(connection.peer);
    if (!sys::allow_zero_copy(connection.sender.get())) GTEST_SKIP() << "no SO_ZEROCOPY";
    auto sender = std::make_unique<Sender>(std::move(connection.sender), events_);
    sender_ = sender.get();
    ASSERT_TRUE(loop_->attach(std::move(sender)));
    loop_->pause_reading(*sender_);
  }

  void send_and_read() {
    const ssize_t sent =
        ::send(sender_->fd(), memory_.data(), memory_.size(), MSG_ZEROCOPY | MSG_NOSIGNAL);
    ASSERT_EQ(sent, static_cast<ssize_t>(memory_.size()));
    std::string got(memory_.size(), '\0');
    ASSERT_EQ(::recv(peer_.get(), got.data(), got.size(), MSG_WAITALL), sent);
  }

  void run_until(const std::function<bool()>& done) {
    const std::int64_t end = sys::monotonic_coarse_ms() + 5'000;
    loop_->run([&] {
      if (done() || sys::monotonic_coarse_ms() > end) loop_->stop();
    });
  }

  std::string memory_ = std::string(50'000, 'x');
  Events events_;
  std::unique_ptr<Loop> loop_ = *make_epoll_loop({});
  sys::Fd peer_;
  Stream* sender_ = nullptr;
};

TEST_F(LoopErrorQueue, EveryCompletionIsHeardOf) {
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

TEST_F(LoopErrorQueue, AnErrorBehindACompletionIsStillAnError) {
  send_and_read();
  sys::abort_on_close(peer_.get());
  peer_.close();
  run_until([&] { return events_.failed > 0; });
  EXPECT_EQ(events_.failed, 1);
  EXPECT_EQ(events_.error.errno_value, ECONNRESET);
}

}  // namespace
}  // namespace pagewire::loop
