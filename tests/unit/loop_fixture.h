// A stream that notes what its loop tells it, and a loop with such streams on socket pairs.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "loop/loop.h"
#include "sys/clock.h"

namespace pagewire::loop {

struct Events {
  std::string bytes;
  int received = 0;
  int ended = 0;
  int writable = 0;
  int timed_out = 0;
  int failed = 0;
  int notified = 0;
  std::vector<Result<ByteCount>> sent;
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
  void notified() override { ++events_.notified; }
  void sent(Result<ByteCount> taken) override {
    events_.sent.push_back(taken);
    if (on_sent) on_sent();
  }

  std::function<void()> on_received, on_ended, on_writable, on_timeout, on_sent;

 private:
  Events& events_;
};

struct Pair {
  sys::Fd ours;
  sys::Fd theirs;
};

inline Pair socket_pair() {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
  return {sys::Fd(ends[0]), sys::Fd(ends[1])};
}

class LoopFixture : public ::testing::Test {
 protected:
  explicit LoopFixture(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}

  Probe& attach(sys::Fd fd, Events& events) {
    auto probe = std::make_unique<Probe>(std::move(fd), events);
    Probe& reference = *probe;
    EXPECT_TRUE(loop_->attach(std::move(probe)));
    return reference;
  }

  /// A stream on one end of a socket pair; the other end is `peer_`.
  Probe& attach() {
    Pair pair = socket_pair();
    peer_ = std::move(pair.theirs);
    return attach(std::move(pair.ours), events_);
  }

  void run_until(const std::function<bool()>& done, std::int64_t at_most_ms = 60'000) {
    const std::int64_t end = sys::monotonic_coarse_ms() + at_most_ms;
    loop_->run([&] {
      if (done() || sys::monotonic_coarse_ms() > end) loop_->stop();
    });
  }

  /// And for some time more, for what should not come.
  void run_until_and_on(const std::function<bool()>& done) {
    std::int64_t end = 0;
    run_until([&] {
      if (end == 0 && done()) end = sys::monotonic_coarse_ms() + 400;
      return end != 0 && sys::monotonic_coarse_ms() >= end;
    });
  }

  void send(std::string_view text) { send(peer_, text); }
  static void send(const sys::Fd& peer, std::string_view text) {
    ASSERT_EQ(::send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }

  Events events_;
  std::unique_ptr<Loop> loop_;
  sys::Fd peer_;
};

}  // namespace pagewire::loop
