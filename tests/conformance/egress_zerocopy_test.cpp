// What only zerocopy has: completions, the limits of what is in flight, ENOBUFS, and windows that
// outlive their transfer. On loopback the kernel copies in the end, and says so; until the peer
// acknowledges, it holds our pages as on any other device.
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <fstream>
#include <memory>

#include "harness.h"

namespace pagewire::test {
namespace {

constexpr std::string_view head = "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n";
constexpr std::uint64_t size = 20 * mib + 4321;

/// Mappings of files in `folder` that this process has now.
std::size_t mapped_windows(const TempDir& folder) {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find(folder.file("")) != std::string::npos) ++count;
  }
  return count;
}

class ZeroCopy : public ::testing::Test {
 protected:
  void SetUp() override {
    const egress::Availability available = path_.probe();
    if (!available.available) GTEST_SKIP() << available.reason;
    file_ = make_file(dir_.file("f"), size);
    segments_ = {Segment::of_memory(head), slice_of(file_, {{0}, {size}})};
  }
  void TearDown() override { EXPECT_EQ(mapped_windows(dir_), 0U); }

  Outcome send(const SendOptions& options) {
    const Outcome outcome = send_by(path_, segments_, options);
    EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
    EXPECT_EQ(outcome.path, &path_);
    return outcome;
  }

  const egress::Path& path_ = *egress::find_path("zerocopy");
  const TempDir dir_;
  FileRef file_;
  std::vector<Segment> segments_;
};

/// A socket with sends of zerocopy in flight, whose peer reads nothing.
class StuckSend {
 public:
  explicit StuckSend(std::span<const Segment> segments)
      : connection_(connect_over_loopback({.send = 0, .receive = 65'536})) {
    resources_.zero_copy.limits.copied_streak = 0;
    transfer_.path = egress::find_path("zerocopy");
    transfer_.transport = {.socket_fd = fd(), .state = state_.get()};
    transfer_.resources = &resources_;
    transfer_.segments = segments;
    egress::prepare(transfer_);
    while (egress::step(transfer_, ByteCount{1 * mib}).status == Status::Moved) {
    }
    EXPECT_EQ(transfer_.path->name, "zerocopy");
    EXPECT_TRUE(state_->busy());
    pollfd arrived{.fd = connection_.peer.get(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&arrived, 1, 60'000), 1);  // the kernel has copied some of it
  }

  int fd() const { return connection_.sender.get(); }
  sys::Fd& peer() { return connection_.peer; }
  egress::SocketState& state() { return *state_; }
  const egress::ZeroCopyUse& use() const { return resources_.zero_copy; }
  egress::ZeroCopyLimits& limits() { return resources_.zero_copy.limits; }
  void finish() { egress::finish(transfer_); }
  void drop_state() { state_.reset(); }
  void close() { connection_.sender.close(); }

  bool comes_free() {
    for (int ms = 0; ms < 60'000 && state_->busy(); ++ms) {
      state_->take_completions(fd());
      if (state_->busy()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return !state_->busy();
  }

 private:
  Connection connection_;
  sys::PipePool pool_{sys::PipePool::Limits{}};
  std::vector<char> scratch_ = std::vector<char>(64 * kib);
  egress::Resources resources_{pool_, scratch_};
  std::unique_ptr<egress::SocketState> state_ = std::make_unique<egress::SocketState>();
  Transfer transfer_;
};

TEST_F(ZeroCopy, EverySendCompletes) {
  const Outcome outcome = send({});
  EXPECT_GT(outcome.zero_copy.sends, 10U);
  EXPECT_EQ(outcome.zero_copy.copied, outcome.zero_copy.sends) << "on loopback";
  EXPECT_EQ(outcome.zero_copy.over_limit, 0U);
  EXPECT_EQ(outcome.zero_copy.no_buffer, 0U);
}

TEST_F(ZeroCopy, GivesUpWhenTheKernelKeepsCopying) {
  SendOptions options;
  options.zero_copy.copied_streak = 3;
  const Outcome outcome = send(options);
  EXPECT_EQ(outcome.zero_copy.given_up, 1U);
  EXPECT_GE(outcome.zero_copy.copied, 3U);
  EXPECT_LT(outcome.zero_copy.sends, 30U) << "it went on without copies all the same";
}

TEST_F(ZeroCopy, APathGivenUpDoesNotFitItsConnectionAnyMore) {
  StuckSend stuck(segments_);
  const egress::Transport transport{.socket_fd = stuck.fd(), .state = &stuck.state()};
  EXPECT_TRUE(path_.fits(segments_, transport));
  EXPECT_FALSE(path_.fits(segments_, {.socket_fd = stuck.fd()})) << "nobody takes completions";
  stuck.limits().copied_streak = 1;
  sys::reset_now(stuck.fd());
  stuck.finish();
  EXPECT_TRUE(stuck.comes_free());
  EXPECT_EQ(stuck.use().given_up, 1U);
  EXPECT_FALSE(path_.fits(segments_, transport));
}

TEST_F(ZeroCopy, AboveTheLimitInFlightItCopiesAndThenGoesOn) {
  std::atomic<bool> above = false;
  SendOptions options;
  options.zero_copy.in_flight = ByteCount{300'000};
  options.quantum = ByteCount{100'000};
  options.buffers.receive = 65'536;  // so that what is in flight comes back long before the end
  options.habits = {.chunk = 50'000, .waits_for = &above};
  options.between_steps = [&](const Transfer& transfer) {
    if (transfer.resources->zero_copy.over_limit > 5) above = true;
  };
  const Outcome outcome = send(options);
  EXPECT_GT(outcome.zero_copy.over_limit, 5U);
  EXPECT_GT(outcome.zero_copy.sends, 5U) << "never recovered";
}

TEST_F(ZeroCopy, WithoutAnyRoomInFlightItCopies) {
  SendOptions options;
  options.zero_copy.in_flight = {};
  const Outcome outcome = send(options);
  EXPECT_EQ(outcome.zero_copy.sends, 0U);
  EXPECT_GT(outcome.zero_copy.over_limit, 0U);
}

/// Windows and numbers run out; nothing is lost, and all of them come back at the end.
TEST_F(ZeroCopy, CompletionsThatNobodyTakesEndInCopying) {
  SendOptions options;
  options.take_completions = false;
  options.quantum = ByteCount{64 * kib};
  const Outcome outcome = send(options);
  EXPECT_GT(outcome.zero_copy.sends, 10U);
  EXPECT_LE(outcome.zero_copy.sends, 128U);
  EXPECT_GT(outcome.zero_copy.over_limit, 10U);
}

TEST_F(ZeroCopy, AResetByThePeerGivesEverythingBack) {
  StuckSend stuck(segments_);
  EXPECT_GT(mapped_windows(dir_), 0U);
  sys::abort_on_close(stuck.peer().get());
  stuck.peer().close();
  stuck.finish();
  EXPECT_TRUE(stuck.comes_free());
  EXPECT_EQ(mapped_windows(dir_), 0U);
  EXPECT_EQ(stuck.use().in_flight.value, 0U);
  EXPECT_EQ(stuck.use().abandoned, 0U);
}

TEST_F(ZeroCopy, AResetByUsGivesEverythingBack) {
  StuckSend stuck(segments_);
  stuck.finish();
  EXPECT_GT(mapped_windows(dir_), 0U) << "unmapped while the kernel reads from it";
  sys::reset_now(stuck.fd());
  EXPECT_TRUE(stuck.comes_free());
  EXPECT_EQ(mapped_windows(dir_), 0U);
  EXPECT_EQ(stuck.use().in_flight.value, 0U);
  std::string buffer(1 << 20, '\0');
  ssize_t n = 1;
  while (n > 0) n = ::recv(stuck.peer().get(), buffer.data(), buffer.size(), 0);
  EXPECT_TRUE(n < 0 && errno == ECONNRESET) << "the peer took it for an orderly end";
}

/// The connection waited in vain, and goes: the pages are the file's, and still right.
TEST_F(ZeroCopy, BytesOfAnAbandonedSendAreStillTheFiles) {
  StuckSend stuck(segments_);
  stuck.finish();
  const std::uint64_t sends = stuck.use().sends - stuck.use().completed;
  stuck.close();
  stuck.drop_state();
  EXPECT_EQ(mapped_windows(dir_), 0U);
  EXPECT_EQ(stuck.use().in_flight.value, 0U);
  EXPECT_EQ(stuck.use().abandoned, sends);
  Expectation expectation(segments_);
  Peer(std::move(stuck.peer()), expectation, {}).wait();
  EXPECT_GT(expectation.received(), 500'000U);
  EXPECT_EQ(expectation.wrong_at(), Expectation::npos);
}

// ---------------------------------------------------------------- ENOBUFS

/// Sends in a network namespace of its own, whose sockets have no option memory for completions
/// (net.core.optmem_max belongs to the namespace since Linux 6.8). Returns the exit status.
int send_without_option_memory(const std::function<Outcome()>& send) {
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWNET) != 0) return 2;
  const sys::Fd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  if (::ioctl(control.get(), SIOCSIFFLAGS, &request) != 0) return 2;
  std::ofstream optmem("/proc/sys/net/core/optmem_max");
  optmem << "256" << std::flush;
  if (!optmem) return 3;
  const Outcome outcome = send();
  const bool fell_back = outcome.zero_copy.no_buffer > 0 && outcome.zero_copy.sends == 0;
  return outcome.all_right() && fell_back ? 0 : 1;
}

TEST_F(ZeroCopy, WithoutOptionMemoryItCopies) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(send_without_option_memory([this] { return send({}); }));
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "no network namespace to be had";
  if (WEXITSTATUS(status) == 3) GTEST_SKIP() << "optmem_max is not the namespace's own";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace pagewire::test
