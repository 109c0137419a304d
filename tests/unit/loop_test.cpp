// The loop's promises to its streams: bytes, FIN, turns, deadlines, pausing, and no call after
// retire().
#include "loop/loop.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>
#include <thread>

#include "sys/clock.h"

namespace pagewire::loop {
namespace {

struct Events {
  std::string bytes;
  int received = 0;
  int ended = 0;
  int writable = 0;
  int timed_out = 0;
  int failed = 0;
  bool deleted = false;
};

class Probe final : public Stream {
 public:
  Probe(sys::Fd fd, Events& events) : Stream(std::move(fd)), events_(events) {}
  ~Probe() override { events_.deleted = true; }

  void received(std::span<const char> bytes) override {
    ++events_.received;
    events_.bytes.append(bytes.data(), bytes.size());
    if (on_received) on_received();
  }
  void ended() override {
    ++events_.ended;
    if (on_ended) on_ended();
  }
  void writable() override {
    ++events_.writable;
    if (on_writable) on_writable();
  }
  void timed_out() override {
    ++events_.timed_out;
    if (on_timeout) on_timeout();
  }
  void failed(Error) override { ++events_.failed; }

  std::function<void()> on_received, on_ended, on_writable, on_timeout;

 private:
  Events& events_;
};

constexpr Settings small_buffers() {
  Settings settings;
  settings.receive_buffer_bytes = 16;
  settings.buffers = {.count = 8, .size_bytes = 16};
  return settings;
}

class LoopTest : public ::testing::TestWithParam<Engine> {
 protected:
  LoopTest() : loop_(*make_loop(GetParam(), small_buffers())) {}

  /// A stream on one end of a socket pair; the other end is `peer_`.
  Probe& attach() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    peer_ = sys::Fd(ends[1]);
    auto probe = std::make_unique<Probe>(sys::Fd(ends[0]), events_);
    Probe& reference = *probe;
    EXPECT_TRUE(loop_->attach(std::move(probe)));
    return reference;
  }

  void run_until(const std::function<bool()>& done, std::int64_t at_most_ms = 5'000) {
    const std::int64_t end = sys::monotonic_coarse_ms() + at_most_ms;
    loop_->run([&] {
      if (done() || sys::monotonic_coarse_ms() > end) loop_->stop();
    });
  }

  void send(std::string_view text) {
    ASSERT_EQ(::send(peer_.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }

  Events events_;
  std::unique_ptr<Loop> loop_;
  sys::Fd peer_;
};

TEST_P(LoopTest, DeliversAllBytesThenTheEnd) {
  Probe& probe = attach();
  std::string sent;
  for (int i = 0; i < 100; ++i) sent += "line " + std::to_string(i) + "\n";
  send(sent);
  peer_.close();
  probe.on_ended = [&] {
    EXPECT_EQ(events_.bytes, sent);
    loop_->retire(probe);
  };
  run_until([&] { return events_.deleted; });
  EXPECT_EQ(events_.ended, 1);
  EXPECT_GT(events_.received, 8) << "more than one turn's worth of receive buffers";
}

TEST_P(LoopTest, PausedStreamHearsNothingUntilResumed) {
  Probe& probe = attach();
  probe.on_received = [&] { loop_->pause_reading(probe); };
  send(
      "0123456789abcdef"
      "second");
  int ticks = 0;
  loop_->run([&] {
    if (++ticks == 2) {
      EXPECT_EQ(events_.bytes, "0123456789abcdef");
      loop_->resume_reading(probe);
    }
    if (ticks == 4) loop_->stop();
  });
  EXPECT_EQ(events_.bytes, "0123456789abcdefsecond");
}

TEST_P(LoopTest, FinBehindPausedBytesComesAfterThem) {
  Probe& probe = attach();
  probe.on_received = [&] { loop_->pause_reading(probe); };
  send("0123456789abcdef");
  peer_.close();
  int ticks = 0;
  loop_->run([&] {
    if (++ticks == 2) {
      EXPECT_EQ(events_.ended, 0);
      loop_->resume_reading(probe);
    }
    if (ticks == 4) loop_->stop();
  });
  EXPECT_EQ(events_.ended, 1);
}

TEST_P(LoopTest, WritableOnlyAfterRoomIsMissedAndMade) {
  Probe& probe = attach();
  const std::string block(1 << 16, 'x');
  while (::send(probe.fd(), block.data(), block.size(), MSG_DONTWAIT) > 0) {
  }
  ASSERT_EQ(errno, EAGAIN);
  loop_->await_writable(probe);
  int ticks = 0;
  loop_->run([&] {
    if (++ticks == 2) {
      EXPECT_EQ(events_.writable, 0);
      std::string sink(1 << 20, 0);
      while (::recv(peer_.get(), sink.data(), sink.size(), MSG_DONTWAIT) > 0) {
      }
    }
    if (ticks == 4) loop_->stop();
  });
  EXPECT_EQ(events_.writable, 1);
}

TEST_P(LoopTest, YieldGivesOneTurnEach) {
  Probe& probe = attach();
  probe.on_writable = [&] {
    if (events_.writable < 5) loop_->yield(probe);
  };
  loop_->yield(probe);
  run_until([&] { return events_.writable >= 5; });
  EXPECT_EQ(events_.writable, 5);
}

TEST_P(LoopTest, DeadlineFiresOnceNeitherEarlyNorNever) {
  Probe& probe = attach();
  const std::int64_t start = loop_->now_ms();
  std::int64_t fired_at = 0;
  probe.on_timeout = [&] { fired_at = sys::monotonic_coarse_ms(); };
  loop_->set_deadline(probe, start + 10'000);
  loop_->set_deadline(probe, start + 300);  // nearer
  loop_->set_deadline(probe, start + 600);  // further again
  run_until([&] { return events_.timed_out > 0; });
  EXPECT_EQ(events_.timed_out, 1);
  EXPECT_GE(fired_at, start + 600);
  EXPECT_LE(fired_at, start + 4'000) << "generous: the machine may be busy";
}

TEST_P(LoopTest, ClearedDeadlineDoesNotFire) {
  Probe& probe = attach();
  loop_->set_deadline(probe, loop_->now_ms() + 200);
  loop_->set_deadline(probe, 0);
  run_until([] { return false; }, 600);
  EXPECT_EQ(events_.timed_out, 0);
}

TEST_P(LoopTest, RetiredStreamHearsNothingAndIsDeleted) {
  Probe& probe = attach();
  probe.on_received = [&] {
    loop_->yield(probe);
    loop_->set_deadline(probe, loop_->now_ms() + 1);
    loop_->retire(probe);
  };
  send(
      "0123456789abcdef"
      "more");
  run_until([] { return false; }, 400);
  EXPECT_EQ(events_.received, 1);
  EXPECT_EQ(events_.writable + events_.timed_out + events_.ended, 0);
  EXPECT_TRUE(events_.deleted);
  EXPECT_EQ(loop_->stream_count(), 0U);
}

TEST_P(LoopTest, PostRunsOnTheLoopsThread) {
  std::thread::id ran_on;
  std::thread other([&] {
    loop_->post([&] {
      ran_on = std::this_thread::get_id();
      loop_->stop();
    });
  });
  loop_->run([] {});
  other.join();
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

class CountingAcceptor final : public Acceptor {
 public:
  void accepted(sys::Accepted) override { ++count; }
  AfterFailure accept_failed(Error) override { return AfterFailure::Pause; }
  int count = 0;
};

TEST_P(LoopTest, AcceptsWhatIsQueuedBeforeItStopsListening) {
  const sys::Address any = *sys::Address::parse("127.0.0.1:0");
  const sys::Fd listener = std::move(*sys::listen_on(any, {}));
  const sys::Address address = *sys::local_address(listener.get());
  CountingAcceptor acceptor;
  ASSERT_TRUE(loop_->listen(listener.get(), acceptor));
  std::vector<sys::Fd> clients;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(clients.back().get(), address.raw(), address.raw_size()), 0);
  }
  loop_->unlisten_all();
  EXPECT_EQ(acceptor.count, 20);
}

INSTANTIATE_TEST_SUITE_P(Engines, LoopTest, ::testing::Values(Engine::Epoll, Engine::Uring),
                         [](const auto& engine) { return std::string(name(engine.param)); });

TEST(Address, ParsesAndPrints) {
  EXPECT_EQ(sys::Address::parse("127.0.0.1:80")->to_string(), "127.0.0.1:80");
  EXPECT_EQ(sys::Address::parse("[::1]:8080")->to_string(), "[::1]:8080");
  EXPECT_EQ(sys::Address::parse(":9000")->to_string(), "[::]:9000");
  EXPECT_EQ(sys::Address::parse("9000")->to_string(), "[::]:9000");
  for (const char* wrong :
       {"", ":", "a:1", "1.2.3.4:", "1.2.3.4:65536", "::1:80", "[::1]", "1.2.3:1"}) {
    EXPECT_FALSE(sys::Address::parse(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace pagewire::loop
