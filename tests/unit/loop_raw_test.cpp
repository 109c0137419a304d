// Streams that read by themselves: told of every edge, and again until they have read all of it.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "unit/loop_fixture.h"

namespace pagewire::loop {
namespace {

class RawProbe final : public RawStream {
 public:
  RawProbe(Loop& loop, sys::Fd fd, Events& events)
      : RawStream(std::move(fd)), loop_(loop), events_(events) {}
  ~RawProbe() override { events_.deleted = true; }

  void readable() override {
    ++calls;
    char bytes[16];
    const ssize_t n = ::recv(fd(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0) events_.bytes.append(bytes, static_cast<std::size_t>(n));
    if (n == 0) {
      ++events_.ended;
      return loop_.emptied(*this, Emptied::ForGood);
    }
    if (n < static_cast<ssize_t>(sizeof bytes)) loop_.emptied(*this, Emptied::ForNow);
    if (on_readable) on_readable();
  }
  void writable() override { ++events_.writable; }
  void timed_out() override {}
  void failed(Error) override { loop_.retire(*this); }

  int calls = 0;
  std::function<void()> on_readable;

 private:
  Loop& loop_;
  Events& events_;
};

class LoopRawTest : public LoopFixture {
 protected:
  LoopRawTest() : LoopFixture(*make_loop(Engine::Epoll, {})) {}

  RawProbe& attach_raw() {
    Pair pair = socket_pair();
    peer_ = std::move(pair.theirs);
    auto probe = std::make_unique<RawProbe>(*loop_, std::move(pair.ours), events_);
    RawProbe& reference = *probe;
    EXPECT_TRUE(loop_->attach(std::move(probe)));
    return reference;
  }
  void run_ticks(int count, const std::function<void(int)>& at_tick = {}) {
    int ticks = 0;
    loop_->run([&] {
      if (at_tick) at_tick(ticks);
      if (++ticks == count) loop_->stop();
    });
  }
};

TEST_F(LoopRawTest, IsAskedAgainForWhatItLeft) {
  RawProbe& probe = attach_raw();
  send("0123456789abcdef0123456789abcdef0123");
  run_until([&] { return events_.bytes.size() == 36; });
  EXPECT_EQ(probe.calls, 3);
}

TEST_F(LoopRawTest, IsLeftAloneOnceItHasReadAll) {
  RawProbe& probe = attach_raw();
  send("0123");
  run_ticks(3);
  EXPECT_EQ(probe.calls, 1);
}

TEST_F(LoopRawTest, HearsOfWhatComesLater) {
  RawProbe& probe = attach_raw();
  run_ticks(4, [&](int tick) {
    if (tick == 1) send("0123");
    if (tick == 2) send("4567");
  });
  EXPECT_EQ(events_.bytes, "01234567");
  EXPECT_EQ(probe.calls, 2);
}

/// The edge of a FIN that came together with bytes is used up when these have been read.
TEST_F(LoopRawTest, FindsTheFinBehindBytes) {
  RawProbe& probe = attach_raw();
  send("0123");
  peer_.close();
  run_ticks(3);
  EXPECT_EQ(events_.bytes, "0123");
  EXPECT_EQ(events_.ended, 1);
  EXPECT_EQ(probe.calls, 2);
}

/// One edge tells of all of it: the mark, at which the first read stops, and the FIN.
TEST_F(LoopRawTest, FindsTheFinBehindAnUrgentMark) {
  sys::SocketPair pair = std::move(*sys::tcp_pair_over_loopback());
  const int sender = pair.sender.get();
  ASSERT_EQ(::send(sender, "0123", 4, 0), 4);
  ASSERT_EQ(::send(sender, "!", 1, MSG_OOB), 1);
  ASSERT_EQ(::send(sender, "4567", 4, 0), 4);
  ASSERT_EQ(::shutdown(sender, SHUT_WR), 0);
  pollfd all_of_it{.fd = pair.receiver.get(), .events = POLLRDHUP, .revents = 0};
  ASSERT_EQ(::poll(&all_of_it, 1, 60'000), 1);
  auto probe = std::make_unique<RawProbe>(*loop_, std::move(pair.receiver), events_);
  RawProbe& reference = *probe;
  ASSERT_TRUE(loop_->attach(std::move(probe)));
  run_ticks(3);
  EXPECT_EQ(events_.bytes, "01234567");
  EXPECT_EQ(events_.ended, 1);
  EXPECT_EQ(reference.calls, 3);
}

TEST_F(LoopRawTest, PausedItHearsNothingAndLosesNothing) {
  RawProbe& probe = attach_raw();
  probe.on_readable = [&] { loop_->pause_reading(probe); };
  send("0123456789abcdef0123");
  int calls_while_paused = 0;
  run_ticks(6, [&](int tick) {
    if (tick == 1) peer_.close();
    if (tick != 3) return;
    calls_while_paused = probe.calls;
    probe.on_readable = {};
    loop_->resume_reading(probe);
  });
  EXPECT_EQ(calls_while_paused, 1);
  EXPECT_EQ(events_.bytes, "0123456789abcdef0123");
  EXPECT_EQ(events_.ended, 1);
}

/// What has come while the loop paused is told of in one turn, and not before the pause is over.
TEST(LoopRaw, PausesAfterBulk) {
  constexpr std::int64_t pause_us = 30'000;
  const std::unique_ptr<Loop> loop = *make_loop(Engine::Epoll, {.coalesce_us = pause_us});
  Pair pair = socket_pair();
  Events events;
  auto owned = std::make_unique<RawProbe>(*loop, std::move(pair.ours), events);
  RawProbe& probe = *owned;
  const auto send = [&](std::string_view bytes) {
    ASSERT_EQ(::send(pair.theirs.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
  };
  std::vector<std::int64_t> called_ns;
  probe.on_readable = [&] {
    called_ns.push_back(sys::monotonic_ns());
    if (probe.calls == 1) loop->coalesce();  // one pause, and none after the next turn
    if (probe.calls < 3) send("4567");
    if (probe.calls == 3) loop->stop();
  };
  ASSERT_TRUE(loop->attach(std::move(owned)));
  send("0123");
  loop->run([] {});
  ASSERT_EQ(called_ns.size(), 3U);
  EXPECT_GE(called_ns[1] - called_ns[0], pause_us * 1'000);
  EXPECT_EQ(events.bytes, "012345674567");
}

TEST(LoopRaw, IoUringHasNone) {
  const Result<void> probed = probe_uring();
  if (!probed) GTEST_SKIP() << "no io_uring here: " << describe(probed.error());
  const std::unique_ptr<Loop> loop = *make_loop(Engine::Uring, {});
  Events events;
  const Result<void> attached =
      loop->attach(std::make_unique<RawProbe>(*loop, socket_pair().ours, events));
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().errno_value, EOPNOTSUPP);
  EXPECT_TRUE(events.deleted);
}

}  // namespace
}  // namespace pagewire::loop
