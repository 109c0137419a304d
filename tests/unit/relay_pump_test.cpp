// The pump between real TCP connections: random sequences of partial writes, slow sinks, FIN and
// RST at any byte, both directions at once, and pipes that are not to be had. Each run prints its
// seed; PAGEWIRE_SEED runs one again.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "relay/pump.h"
#include "support/position_code.h"
#include "sys/clock.h"
#include "sys/socket.h"

namespace pagewire::relay {
namespace {

constexpr std::size_t buffer_bytes = 64 * kib;
constexpr std::int64_t patience_ms = 60'000;

std::size_t open_descriptors() {
  std::size_t count = 0;
  for (int fd = 0; fd < 1'024; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

/// A peer at the end of a TCP connection: what it has written, and whether what it reads is right.
struct Peer {
  int fd = -1;
  test::Generation out = 0;  ///< of what it writes
  test::Generation in = 0;
  std::uint64_t written = 0;
  std::uint64_t read = 0;
  bool finished = false;  ///< has sent FIN
  bool ended = false;     ///< has read it
  int error = 0;

  void write_some(std::size_t size) {
    if (finished || error != 0) return;
    const std::string bytes = test::positions(written, size, out);
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) written += static_cast<std::uint64_t>(n);
    if (n < 0 && errno != EAGAIN) error = errno;
  }
  void finish() {
    finished = true;
    ::shutdown(fd, SHUT_WR);
  }
  void read_some(std::size_t size) {
    if (ended || error != 0) return;
    std::string bytes(size, '\0');
    const ssize_t n = ::recv(fd, bytes.data(), size, MSG_DONTWAIT);
    if (n == 0) ended = true;
    if (n < 0 && errno != EAGAIN) error = errno;
    if (n <= 0) return;
    const auto count = static_cast<std::size_t>(n);
    ASSERT_EQ(test::first_wrong(read, std::span(bytes).first(count), in), count) << "from " << read;
    read += count;
  }
};

class PumpTest : public ::testing::Test {
 protected:
  void SetUp() override { reset_room({.idle = 4, .capacity = ByteCount{64 * kib}}); }

  void reset_room(sys::PipePool::Limits limits) {
    pool_ = std::make_unique<sys::PipePool>(limits);
    counts_ = std::make_unique<PumpCounts>();
    room_.emplace(PumpRoom{.pipes = *pool_, .buffer = buffer_, .counts = *counts_});
  }

  /// client <-> ours | theirs <-> upstream
  void connect() {
    sys::SocketPair one = sys::tcp_pair_over_loopback().value();
    sys::SocketPair two = sys::tcp_pair_over_loopback().value();
    client_fd_ = std::move(one.receiver);
    near_ = std::move(one.sender);
    upstream_fd_ = std::move(two.receiver);
    far_ = std::move(two.sender);
    client_ = {.fd = client_fd_.get(), .out = 1, .in = 2};
    upstream_ = {.fd = upstream_fd_.get(), .out = 2, .in = 1};
    up_ = Pump();
    down_ = Pump();
  }

  /// Of the sinks: what peers do not read soon stands in the pumps. Not smaller: below two segments
  /// of loopback's 64 KiB TCP goes on by its timers, five times a second.
  void small_buffers() {
    constexpr int size = 128 * kib;
    for (const int fd : {near_.get(), far_.get()}) {
      ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    for (const int fd : {client_fd_.get(), upstream_fd_.get()}) {
      ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
  }

  PumpResult step_up() { return up_.step(rules_, {near_.get(), far_.get()}, *room_); }
  PumpResult step_down() { return down_.step(rules_, {far_.get(), near_.get()}, *room_); }

  void release() {
    up_.release(*room_);
    down_.release(*room_);
    EXPECT_EQ(room_->pipes_in_use, 0U);
  }

  /// All of it arrives, with its FIN, whoever is slow.
  void carry_up(std::uint64_t size) {
    const std::int64_t end_ms = sys::monotonic_coarse_ms() + patience_ms;
    while (!upstream_.ended && sys::monotonic_coarse_ms() < end_ms) {
      if (client_.written < size)
        client_.write_some(std::min<std::size_t>(size - client_.written, 128 * kib));
      if (client_.written == size && !client_.finished) client_.finish();
      const PumpResult result = step_up();
      ASSERT_TRUE(result.status != PumpStatus::SourceFailed &&
                  result.status != PumpStatus::SinkFailed)
          << result.error;
      upstream_.read_some(96 * kib);
    }
    EXPECT_TRUE(upstream_.ended);
    EXPECT_EQ(upstream_.read, size);
    EXPECT_EQ(up_.total().value, size);
  }

  std::vector<char> buffer_ = std::vector<char>(buffer_bytes);
  std::unique_ptr<sys::PipePool> pool_;
  std::unique_ptr<PumpCounts> counts_;
  std::optional<PumpRoom> room_;
  PumpRules rules_;
  sys::Fd client_fd_, near_, far_, upstream_fd_;
  Peer client_, upstream_;
  Pump up_, down_;

  std::uint64_t switches(PathReason reason) const {
    return counts_->switches[static_cast<std::size_t>(reason)].value();
  }
};

TEST_F(PumpTest, SmallMessagesAreCopiedAndHoldNothing) {
  connect();
  client_.write_some(100);
  EXPECT_EQ(step_up().status, PumpStatus::WantRead);
  EXPECT_EQ(up_.spliced().value, 0U);
  EXPECT_FALSE(up_.holds_bytes());
  EXPECT_EQ(room_->pipes_in_use, 0U);
  EXPECT_EQ(counts_->copied.calls.value(), 2U);  // one recv, one send: a short one ends it
  EXPECT_EQ(up_.sends(), 1U);
  upstream_.read_some(1'000);
  EXPECT_EQ(upstream_.read, 100U);
  EXPECT_EQ(switches(PathReason::Small), 1U);
  client_.write_some(100);
  step_up();
  EXPECT_EQ(up_.sends(), 2U);
}

TEST_F(PumpTest, BulkIsSpliced) {
  connect();
  carry_up(4 * mib);
  EXPECT_GT(up_.spliced().value, 3 * mib);
  EXPECT_EQ(up_.reason(), PathReason::Bulk);
  EXPECT_EQ(room_->pipes_in_use, 0U);
}

TEST_F(PumpTest, ShortSplicesGoBackToCopying) {
  connect();
  rules_.quantum = ByteCount{16 * mib};
  client_.write_some(200 * kib);
  step_up();
  ASSERT_GT(up_.spliced().value, 0U);
  for (unsigned i = 0; i < rules_.short_splices + 1; ++i) {
    upstream_.read_some(mib);
    client_.write_some(10);
    step_up();
  }
  EXPECT_EQ(up_.reason(), PathReason::Small);
  EXPECT_EQ(switches(PathReason::Small), 2U);
}

TEST_F(PumpTest, CopiesAllWhenPinned) {
  connect();
  rules_.path = Path::Copy;
  carry_up(2 * mib);
  EXPECT_EQ(up_.spliced().value, 0U);
  EXPECT_EQ(pool_->idle(), 0U);
}

TEST_F(PumpTest, SplicesAllWhenPinned) {
  connect();
  rules_.path = Path::Splice;
  carry_up(1 * mib);
  EXPECT_EQ(up_.spliced().value, 1 * mib);
}

TEST_F(PumpTest, CopiesAtThePipeLimit) {
  connect();
  rules_.pipes = 0;
  carry_up(2 * mib);
  EXPECT_EQ(up_.spliced().value, 0U);
  EXPECT_GT(switches(PathReason::PipeLimit), 0U);
}

TEST_F(PumpTest, CopiesWithoutDescriptors) {
  connect();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 3, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  carry_up(2 * mib);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(up_.spliced().value, 0U);
  EXPECT_GT(switches(PathReason::NoDescriptors), 0U);
}

/// What fs.pipe-user-pages-soft makes of a pipe (pipe(7)).
TEST_F(PumpTest, CopiesWherePipesAreShrunk) {
  reset_room({.idle = 4, .capacity = ByteCount{4 * kib}});
  connect();
  carry_up(2 * mib);
  EXPECT_EQ(up_.spliced().value, 0U);
  EXPECT_GT(switches(PathReason::PipeShrunk), 0U);
  EXPECT_EQ(pool_->idle(), 0U);
}

TEST_F(PumpTest, HeldBytesGoFirst) {
  connect();
  const std::string first = test::positions(0, 1'000, 1);
  up_.hold(first);
  client_.written = first.size();
  client_.write_some(500);
  EXPECT_EQ(step_up().status, PumpStatus::WantRead);
  upstream_.read_some(10'000);
  EXPECT_EQ(upstream_.read, 1'500U);
}

TEST_F(PumpTest, AFullSinkHoldsBytesAndSaysSo) {
  for (const Path path : {Path::Copy, Path::Splice, Path::Auto}) {
    connect();
    rules_.path = path;
    small_buffers();
    PumpResult result{};
    for (int i = 0; i < 1'000 && result.status != PumpStatus::WantWrite; ++i) {
      client_.write_some(32 * kib);
      result = step_up();
    }
    ASSERT_EQ(result.status, PumpStatus::WantWrite) << name(path);
    EXPECT_TRUE(up_.holds_bytes());
    carry_up(client_.written + 300'000);
    release();
  }
}

TEST_F(PumpTest, AResetSourceIsNoEnd) {
  for (const Path path : {Path::Copy, Path::Splice, Path::Auto}) {
    connect();
    rules_.path = path;
    client_.write_some(1'000);
    step_up();
    sys::reset_now(client_fd_.get());
    const PumpResult result = step_up();
    EXPECT_EQ(result.status, PumpStatus::SourceFailed) << name(path);
    EXPECT_EQ(result.error, ECONNRESET) << name(path);
    EXPECT_FALSE(up_.done());
    release();
  }
}

/// Whoever has told of the reset has taken its errno: recv then says 0, as at a FIN.
TEST_F(PumpTest, WhatASourceSaidBeforeAResetThatWasToldIsPassedOn) {
  constexpr std::uint64_t size = 100'000;  // within the windows: none of it is unsent
  for (const Path path : {Path::Copy, Path::Splice, Path::Auto}) {
    connect();
    rules_.path = path;
    while (client_.written < size) client_.write_some(size - client_.written);
    sys::reset_now(client_fd_.get());
    int error = 0;
    socklen_t error_size = sizeof error;
    ASSERT_EQ(::getsockopt(near_.get(), SOL_SOCKET, SO_ERROR, &error, &error_size), 0);
    ASSERT_EQ(error, ECONNRESET);
    const PumpEnds ends{.source = near_.get(), .sink = far_.get(), .source_reset = true};
    PumpResult result{};
    do {
      result = up_.step(rules_, ends, *room_);
    } while (result.status == PumpStatus::Yield);
    EXPECT_EQ(result.status, PumpStatus::SourceFailed) << name(path);
    EXPECT_EQ(result.error, ECONNRESET) << name(path);
    EXPECT_FALSE(up_.done());
    for (int i = 0; i < 10; ++i) upstream_.read_some(size);
    EXPECT_EQ(upstream_.read, size) << name(path);
    EXPECT_FALSE(upstream_.ended);
    release();
  }
}

TEST_F(PumpTest, AResetSinkIsToldFromTheSource) {
  for (const Path path : {Path::Copy, Path::Splice, Path::Auto}) {
    connect();
    rules_.path = path;
    sys::reset_now(upstream_fd_.get());
    PumpResult result{};
    for (int i = 0; i < 10 && result.status != PumpStatus::SinkFailed; ++i) {
      client_.write_some(1'000);
      result = step_up();
    }
    EXPECT_EQ(result.status, PumpStatus::SinkFailed) << name(path);
    release();
  }
}

TEST_F(PumpTest, WhatADeadTunnelLeavesInAPipeReachesNobody) {
  connect();
  rules_.path = Path::Splice;
  small_buffers();
  PumpResult result{};
  for (int i = 0; i < 1'000 && result.status != PumpStatus::WantWrite; ++i) {
    client_.write_some(32 * kib);
    result = step_up();
  }
  ASSERT_EQ(result.status, PumpStatus::WantWrite);
  release();
  EXPECT_EQ(pool_->idle(), 0U);  // closed with its bytes
  connect();
  carry_up(100'000);  // position-coded: a foreign byte would be seen
}

std::uint64_t any_seed() {
  const char* const given = std::getenv("PAGEWIRE_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

class PumpProperty : public PumpTest {
 protected:
  std::size_t pick(std::size_t most) {
    return std::uniform_int_distribution<std::size_t>(0, most)(random_);
  }

  void choose_rules() {
    rules_ = {};
    rules_.path = std::array{Path::Auto, Path::Auto, Path::Splice, Path::Copy}[pick(3)];
    rules_.quantum = ByteCount{1 + pick(256 * kib)};
    rules_.pipes = pick(4) == 0 ? 0 : 100;
    rules_.full_reads = static_cast<unsigned>(1 + pick(3));
    rules_.short_splices = static_cast<unsigned>(1 + pick(3));
  }

  void act(std::size_t longest) {
    switch (pick(7)) {
      case 0:
        return client_.write_some(1 + pick(longest));
      case 1:
        return upstream_.write_some(1 + pick(longest));
      case 2:
        return client_.read_some(1 + pick(longest));
      case 3:
        return upstream_.read_some(1 + pick(longest));
      case 4:
      case 5:
        last_up_ = step_up();
        return;
      default:
        last_down_ = step_down();
    }
  }

  void finish_both() {
    const std::int64_t end_ms = sys::monotonic_coarse_ms() + patience_ms;
    while (!(client_.ended && upstream_.ended) && sys::monotonic_coarse_ms() < end_ms) {
      if (!client_.finished && pick(20) == 0) client_.finish();
      if (!upstream_.finished && pick(20) == 0) upstream_.finish();
      act(64 * kib);
      ASSERT_FALSE(HasFailure());
    }
    ASSERT_TRUE(client_.ended && upstream_.ended) << "stands still";
    EXPECT_EQ(upstream_.read, client_.written);
    EXPECT_EQ(client_.read, upstream_.written);
    EXPECT_TRUE(up_.done() && down_.done());
  }

  /// A reset at any byte: no pump may say that it passed a FIN on, and the other side, which the
  /// tunnel then resets, has read only what is right.
  void reset_one(Peer& dying, Pump& from_it, const std::function<PumpResult()>& step) {
    const bool had_finished = dying.finished;
    sys::reset_now(dying.fd);
    dying.error = ECONNRESET;
    PumpResult result{.status = PumpStatus::Yield, .moved = {}};
    const std::int64_t end_ms = sys::monotonic_coarse_ms() + patience_ms;
    while (sys::monotonic_coarse_ms() < end_ms) {
      result = step();
      if (result.status > PumpStatus::Yield) break;  // it has ended, one way or the other
      (&dying == &client_ ? upstream_ : client_).read_some(mib);
    }
    if (had_finished) return;  // the FIN may have come before the reset
    EXPECT_EQ(result.status, PumpStatus::SourceFailed);
    EXPECT_FALSE(from_it.done());
  }

  void live() {
    choose_rules();
    connect();
    if (pick(2) == 0) small_buffers();
    const std::size_t longest = std::size_t{1} << pick(18);
    for (std::size_t i = 0, actions = pick(200); i < actions; ++i) {
      act(longest);
      ASSERT_FALSE(HasFailure());
    }
    switch (pick(3)) {
      case 0:
        reset_one(client_, up_, [this] { return step_up(); });
        break;
      case 1:
        reset_one(upstream_, down_, [this] { return step_down(); });
        break;
      default:
        finish_both();
    }
    release();
  }

  std::mt19937_64 random_;
  PumpResult last_up_{};
  PumpResult last_down_{};
};

TEST_F(PumpProperty, EveryByteArrivesOnceAndInOrderOrTheConnectionIsReset) {
  constexpr int lives = 300;
  const std::uint64_t seed = any_seed();
  std::printf("PAGEWIRE_SEED=%llu\n", static_cast<unsigned long long>(seed));
  random_.seed(seed);
  const std::size_t before = open_descriptors();
  for (int i = 0; i < lives && !HasFailure(); ++i) {
    SCOPED_TRACE("life " + std::to_string(i));
    live();
  }
  client_fd_.close();
  near_.close();
  far_.close();
  upstream_fd_.close();
  EXPECT_EQ(open_descriptors(), before + 2 * pool_->idle());
}

}  // namespace
}  // namespace pagewire::relay
