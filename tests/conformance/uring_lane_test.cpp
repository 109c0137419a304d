// What the suite of every path cannot see of the lanes: owners that die with operations under way,
// many connections on one lane, buffers that run out, and a kernel without io_uring.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "egress/uring_lane.h"
#include "harness.h"
#include "support/stepping_child.h"

namespace pagewire::test {
namespace {

const egress::Path& path_named(std::string_view name) {
  return *egress::find_path(name);
}

void begin(Transfer& transfer, const egress::Path& path, WorkerParts& parts, int fd,
           std::span<const Segment> segments) {
  transfer.path = &path;
  transfer.transport.socket_fd = fd;
  transfer.resources = &parts.resources;
  transfer.segments = segments;
}

class Lane : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    const egress::Availability available = path().probe();
    if (!available.available) GTEST_SKIP() << available.reason;
  }
  static const egress::Path& path() { return path_named(GetParam()); }
  const TempDir dir_;
};
INSTANTIATE_TEST_SUITE_P(Egress, Lane,
                         ::testing::Values("uring_zc", "uring_zc_sqpoll", "uring_splice"),
                         [](const auto& named) { return std::string(named.param); });

/// The socket and the file go at once, with the operation still under way, and their numbers become
/// another connection's, which must get its own bytes alone.
TEST_P(Lane, OwnersThatDieWithOperationsUnderWay) {
  constexpr std::uint64_t size = 2 * mib;
  const std::size_t before = open_descriptors();
  {
    WorkerParts parts(path());
    for (int round = 0; round < 100; ++round) {
      bool woken = false;
      {
        const FileRef file = make_file(dir_.file("dies"), size);
        const Segment segments[] = {slice_of(file, {{0}, {size}})};
        const Connection dies = connect_over_loopback({});
        Transfer transfer;
        begin(transfer, path(), parts, dies.sender.get(), segments);
        transfer.waker = WorkerParts::wake(woken);
        egress::step(transfer, ByteCount{300'000});
        egress::finish(transfer);
      }
      const std::string mark = positions(0, 10'000, 5);
      const Segment segments[] = {Segment::of_memory(mark)};
      Connection lives = connect_over_loopback({});
      Expectation expectation(segments);
      Peer peer(std::move(lives.peer), expectation, {});
      Transfer transfer;
      begin(transfer, path(), parts, lives.sender.get(), segments);
      EXPECT_EQ(step_through(transfer, parts, ByteCount{1 * mib}).status, Status::Done);
      egress::finish(transfer);
      lives.sender.close();
      peer.wait();
      ASSERT_TRUE(expectation.complete());
      ASSERT_EQ(expectation.wrong_at(), Expectation::npos);
      ASSERT_FALSE(woken) << "a transfer that has gone was woken";
    }
    parts.lanes.settle();
    EXPECT_EQ(parts.lanes.counters().operations_in_flight, 0U);
    EXPECT_EQ(parts.lanes.counters().buffers_in_flight, 0U);
  }
  EXPECT_EQ(open_descriptors(), before);
}

/// More connections than the lane has buffers, all with full sockets, then all served.
TEST_P(Lane, ManyConnectionsShareOne) {
  constexpr std::size_t count = egress::UringLane::buffers + 8;
  constexpr std::uint64_t size = 600'000;
  const FileRef file = make_file(dir_.file("f"), size);
  const Segment segments[] = {slice_of(file, {{0}, {size}})};
  WorkerParts parts(path());
  std::vector<Connection> connections(count);
  std::vector<Transfer> transfers(count);
  for (std::size_t i = 0; i < count; ++i) {  // nobody reads yet
    connections[i] = connect_over_loopback({.send = 100'000, .receive = 50'000});
    begin(transfers[i], path(), parts, connections[i].sender.get(), segments);
    while (step_through(transfers[i], parts, ByteCount{1 * mib}).status == Status::Moved) {
    }
  }
  const bool sends = path().name != "uring_splice";
  EXPECT_EQ(parts.lanes.counters().without_buffer > 0, sends);
  for (std::size_t i = 0; i < count; ++i) {
    Expectation expectation(segments);
    Peer peer(std::move(connections[i].peer), expectation, {});
    StepResult result;
    do {
      result = step_through(transfers[i], parts, ByteCount{1 * mib});
      if (result.status == Status::WantWrite) ::usleep(200);
    } while (result.status == Status::Moved || result.status == Status::WantWrite);
    EXPECT_EQ(result.status, Status::Done);
    egress::finish(transfers[i]);
    connections[i].sender.close();
    peer.wait();
    EXPECT_TRUE(expectation.complete());
    EXPECT_EQ(expectation.wrong_at(), Expectation::npos);
  }
}

TEST_P(Lane, WithoutALaneTheNextPathDoesIt) {
  const FileRef file = make_file(dir_.file("f"), 100'000);
  const Segment segments[] = {slice_of(file, {{0}, {100'000}})};
  const Connection connection = connect_over_loopback({});
  WorkerParts parts(path_named("copy"));
  Transfer transfer;
  begin(transfer, path(), parts, connection.sender.get(), segments);
  const StepResult result = egress::step(transfer, ByteCount{1 * mib});
  EXPECT_GT(result.moved.value, 0U);
  EXPECT_EQ(transfer.path->name, "copy");
  egress::finish(transfer);
}

/// From here on io_uring_setup(2) gives `error` in this process.
bool refuse_io_uring(int error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{.len = 4, .filter = program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

/// In a child, so that the filter stays there: whether the probe's reason has `part`.
bool reason_has(const egress::Path& path, int error, std::string_view part) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (!refuse_io_uring(error)) ::_exit(2);
    const egress::Availability found = path.probe();
    const bool said = std::string_view(found.reason).find(part) != std::string_view::npos;
    ::_exit(!found.available && said ? 0 : 1);
  }
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_P(Lane, IsUnavailableForAReason) {
  EXPECT_TRUE(path().probe().available) << path().probe().reason;
  EXPECT_TRUE(reason_has(path(), EPERM, "refused"));
  EXPECT_TRUE(reason_has(path(), ENOSYS, "not in this kernel"));
}

TEST(Lanes, MemoryThatMayNotBeLockedIsAReason) {
  const int exit_status = run_as_nobody([] {
    const rlimit none{.rlim_cur = 0, .rlim_max = 0};
    ::setrlimit(RLIMIT_MEMLOCK, &none);
    const egress::Availability found = path_named("uring_zc").probe();
    return !found.available && std::strstr(found.reason, "RLIMIT_MEMLOCK") != nullptr ? 0 : 1;
  });
  if (exit_status == -1) GTEST_SKIP() << "this process may not become another user";
  EXPECT_EQ(exit_status, 0);
}

}  // namespace
}  // namespace pagewire::test
