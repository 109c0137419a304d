// The loop's promises to its streams: bytes, FIN, turns, deadlines, pausing, and no call after
// retire().
#include "loop/loop.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>
#include <utility>

#include "unit/loop_fixture.h"

namespace pagewire::loop {
namespace {

constexpr Settings small_buffers() {
  Settings settings;
  settings.receive_buffer_bytes = 16;
  settings.buffers = {.count = 8, .size_bytes = 16};
  return settings;
}

class LoopTest : public LoopFixture, public ::testing::WithParamInterface<Engine> {
 protected:
  LoopTest() : LoopFixture(*make_loop(GetParam(), small_buffers())) {}
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

TEST_P(LoopTest, CountsWakeUpsAndEvents) {
  Probe& probe = attach();
  probe.on_received = [&] { loop_->retire(probe); };
  send("something");
  run_until([&] { return events_.deleted; });
  const Counters once = loop_->counters();
  EXPECT_GT(once.rounds, 0U);
  EXPECT_GT(once.events, 0U);
  EXPECT_LT(once.events, 16U) << "a socket that is read and retired brings a handful";
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
  // Not the coarse clock, which may stand a tick behind the loop's.
  probe.on_timeout = [&] { fired_at = sys::monotonic_ns() / 1'000'000; };
  loop_->set_deadline(probe, start + 60'000);
  loop_->set_deadline(probe, start + 300);  // nearer
  loop_->set_deadline(probe, start + 600);  // further again
  run_until([&] { return events_.timed_out > 0; });
  EXPECT_EQ(events_.timed_out, 1);
  EXPECT_GE(fired_at, start + 600);
  EXPECT_LT(fired_at, start + 60'000) << "nearer than the first one, however busy the machine is";
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
  run_until_and_on([&] { return events_.deleted; });
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

/// Connections that are through with their handshake, and that nobody has accepted (tcp(7): what
/// tcpi_unacked is of a listener). connect(2) may return before.
std::uint32_t queued_on(const sys::Fd& listener) {
  tcp_info info{};
  socklen_t size = sizeof info;
  EXPECT_EQ(::getsockopt(listener.get(), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
  return info.tcpi_unacked;
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
  for (int ms = 0; ms < 60'000 && queued_on(listener) < 20; ++ms) ::usleep(1'000);
  loop_->unlisten_all();
  EXPECT_EQ(acceptor.count, 20);
}

class CountingWatcher final : public Watcher {
 public:
  void readable() override {
    ++count;
    if (on_readable) on_readable();
  }
  int count = 0;
  std::function<void()> on_readable;
};

TEST_P(LoopTest, WatchedDescriptorIsToldInEveryRoundUntilItIsRead) {
  const sys::Fd event(::eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC));
  CountingWatcher watcher;
  watcher.on_readable = [&] {
    eventfd_t value = 0;
    if (watcher.count == 3) ::eventfd_read(event.get(), &value);
  };
  ASSERT_TRUE(loop_->watch(event.get(), watcher));
  run_until_and_on([&] { return watcher.count >= 3; });
  EXPECT_EQ(watcher.count, 3);
}

TEST_P(LoopTest, UnwatchedDescriptorsNextOwnerIsNotHeard) {
  sys::Fd event(::eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC));
  CountingWatcher watcher;
  watcher.on_readable = [&] {
    const int number = event.get();
    loop_->unwatch(number);
    // Also one that was watched in this very round.
    ASSERT_TRUE(loop_->watch(number, watcher));
    loop_->unwatch(number);
    event.close();
    event = sys::Fd(::eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC));
    EXPECT_EQ(event.get(), number);
  };
  ASSERT_TRUE(loop_->watch(event.get(), watcher));
  run_until_and_on([&] { return watcher.count >= 1; });
  EXPECT_EQ(watcher.count, 1);
}

/// A connected TCP socket of this machine, and its peer.
Pair tcp_pair() {
  const sys::Fd listener = std::move(*sys::listen_on(*sys::Address::parse("127.0.0.1:0"), {}));
  const sys::Address address = *sys::local_address(listener.get());
  Pair pair;
  pair.theirs = sys::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(pair.theirs.get(), address.raw(), address.raw_size()), 0);
  pair.ours = std::move(sys::accept_from(listener.get())->fd);
  return pair;
}

TEST_P(LoopTest, CompletionsOfZeroCopyAreNotifiedAndNoError) {
  Pair pair = tcp_pair();
  const int on = 1;
  ASSERT_EQ(::setsockopt(pair.ours.get(), SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on), 0);
  Probe& probe = attach(std::move(pair.ours), events_);
  const std::string bytes(100'000, 'z');
  bool begun = false;
  run_until_and_on([&] {
    if (!std::exchange(begun, true)) {
      loop_->expect_notifications(probe);
      EXPECT_GT(::send(probe.fd(), bytes.data(), bytes.size(), MSG_ZEROCOPY | MSG_DONTWAIT), 0);
    }
    std::string sink(bytes.size(), 0);
    while (::recv(pair.theirs.get(), sink.data(), sink.size(), MSG_DONTWAIT) > 0) {
    }
    return events_.notified > 0;
  });
  EXPECT_GT(events_.notified, 0);
  EXPECT_EQ(events_.failed, 0);
  EXPECT_LT(loop_->counters().enters, 100U);
}

TEST_P(LoopTest, ResetIsAFailureOnce) {
  Pair pair = tcp_pair();
  attach(std::move(pair.ours), events_);
  run_until_and_on([&] {
    if (pair.theirs.is_open()) {
      sys::abort_on_close(pair.theirs.get());
      pair.theirs.close();
    }
    return events_.failed > 0;
  });
  EXPECT_EQ(events_.failed, 1);
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
