// What happens to the file, and to the pipes, in mid-transfer: truncated, overwritten, replaced,
// deleted; out of descriptors; pipes of one page; files that cannot be spliced. Every test runs
// over every path.
//
// What cannot be promised, and is not tested: a file that changes after the last byte was handed to
// the socket, while the peer has not yet received it. sendfile and splice queue references to the
// page cache, so such a change still reaches the wire; copy and mmap have taken their copy by then.
#include <sys/resource.h>
#include <sys/wait.h>

#include "harness.h"
#include "support/stepping_child.h"

namespace pagewire::test {
namespace {

constexpr std::string_view head = "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n";

class Source : public EveryPath {};
INSTANTIATE_TEST_SUITE_P(Egress, Source, ::testing::ValuesIn(egress::paths()), path_name);

/// Small steps, so that what is done between two of them can hit the file anywhere.
SendOptions in_small_steps() {
  SendOptions options;
  options.buffers = {.send = 16'000, .receive = 16'000};
  options.quantum = ByteCount{900};
  return options;
}

/// Sends the segments; calls `act` once, between two steps, when at least `at` bytes have gone.
Outcome send_acting_at(std::uint64_t at, const egress::Path& path,
                       std::span<const Segment> segments, const std::function<void()>& act) {
  bool done = false;
  SendOptions options = in_small_steps();
  options.between_steps = [&](const Transfer& transfer) {
    if (done || transfer.sent.value < at) return;
    done = true;
    act();
  };
  const Outcome outcome = send_by(path, segments, options);
  EXPECT_TRUE(done) << "the transfer ended before its file was touched";
  return outcome;
}

void expect_cut(const Outcome& outcome) {
  EXPECT_TRUE(outcome.status == Status::SourceTruncated || outcome.status == Status::SourceChanged)
      << ::testing::PrintToString(outcome);
  EXPECT_LT(outcome.sent, outcome.promised);
  EXPECT_LT(outcome.received, outcome.promised);
}

TEST_P(Source, TruncatedAtAnyPointToAnyLength) {
  constexpr std::uint64_t size = 81'920;  // page boundaries at both ends
  const std::string name = dir_.file("f");
  for (const std::uint64_t at : {1UL, 20'000UL, 40'000UL, 81'000UL}) {
    for (const std::uint64_t to :
         {0UL, 1UL, 4096UL, 12'289UL, 40'960UL, 45'000UL, 77'824UL, 77'825UL, 81'919UL}) {
      SCOPED_TRACE("at " + std::to_string(at) + " to " + std::to_string(to));
      const FileRef file = make_file(name, size);
      const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {size}})};
      const auto truncate = [&] { EXPECT_EQ(::truncate(name.c_str(), off_t(to)), 0); };
      expect_cut(send_acting_at(at, path(), segments, truncate));
    }
  }
}

TEST_P(Source, TruncatedBeforeTheFirstStep) {
  const std::string name = dir_.file("f");
  for (const std::uint64_t size : {1UL, 4096UL, 8192UL, 10'000UL, 300'000UL}) {
    for (const std::uint64_t missing : {1UL, size / 2 + 1}) {
      SCOPED_TRACE(std::to_string(size) + " less " + std::to_string(missing));
      const FileRef file = make_file(name, size);
      const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {size}})};
      SendOptions options;
      options.before_first = [&] {
        EXPECT_EQ(::truncate(name.c_str(), off_t(size - std::min(missing, size))), 0);
      };
      expect_cut(send_by(path(), segments, options));
    }
  }
}

TEST_P(Source, TruncatedAndGrownAgain) {
  constexpr std::uint64_t size = 81'920;
  const std::string name = dir_.file("f");
  for (const std::uint64_t at : {1UL, 40'000UL, 75'000UL}) {
    for (const std::uint64_t to : {0UL, 50'000UL, 81'919UL}) {
      SCOPED_TRACE("at " + std::to_string(at) + " to " + std::to_string(to));
      const FileRef file = make_file(name, size);
      const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {size}})};
      const auto rewrite = [&] {
        EXPECT_EQ(::truncate(name.c_str(), off_t(to)), 0);
        EXPECT_EQ(::truncate(name.c_str(), off_t(size)), 0);
      };
      expect_cut(send_acting_at(at, path(), segments, rewrite));
    }
  }
}

TEST_P(Source, OverwrittenInPlace) {
  const std::string name = dir_.file("f");
  for (const std::uint64_t at : {1UL, 100'000UL, 299'000UL}) {
    const FileRef file = make_file(name, 300'000);
    const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {300'000}})};
    const auto overwrite = [&] {
      const sys::Fd fd(::open(name.c_str(), O_WRONLY));
      write_all(fd.get(), 0, positions(0, 300'000, 1));
    };
    const Outcome outcome = send_acting_at(at, path(), segments, overwrite);
    expect_cut(outcome);
    EXPECT_EQ(outcome.status, Status::SourceChanged);
  }
}

TEST_P(Source, OverwrittenBetweenTwoPartsOfAMultipart) {
  const std::string name = dir_.file("f");
  const FileRef file = make_file(name, 100'000);
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {30'000}}),
                              Segment::of_memory(head), slice_of(file, {{50'000}, {30'000}}),
                              Segment::of_memory("the end")};
  const auto overwrite = [&] {
    const sys::Fd fd(::open(name.c_str(), O_WRONLY));
    write_all(fd.get(), 50'000, positions(50'000, 10, 1));
  };
  const Outcome outcome = send_acting_at(30'500, path(), segments, overwrite);
  expect_cut(outcome);
  EXPECT_EQ(outcome.status, Status::SourceChanged);
}

TEST_P(Source, ReplacedByRenameGoesOnWithTheOldBytes) {
  const std::string name = dir_.file("f");
  const FileRef file = make_file(name, 300'000);
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {300'000}})};
  const auto replace = [&] {
    write_all(create_file(dir_.file("new")).get(), 0, positions(0, 100, 1));
    EXPECT_EQ(::rename(dir_.file("new").c_str(), name.c_str()), 0);
  };
  const Outcome outcome = send_acting_at(50'000, path(), segments, replace);
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
}

TEST_P(Source, DeletedGoesOnWhole) {
  const std::string name = dir_.file("f");
  const FileRef file = make_file(name, 300'000);
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {300'000}})};
  const auto remove = [&] { EXPECT_EQ(::unlink(name.c_str()), 0); };
  const Outcome outcome = send_acting_at(50'000, path(), segments, remove);
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
}

/// Truncated by another thread at any instant, also inside a step. A path that copies must be right
/// whenever it says Done; every path must stay short when it does not (see the top).
TEST_P(Source, TruncatedAtAnyInstant) {
  constexpr std::uint64_t size = 1 * mib;
  const std::string name = dir_.file("f");
  for (int round = 0; round < 60; ++round) {
    const FileRef file = make_file(name, size);
    const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {size}})};
    std::thread truncator;
    SendOptions options;
    options.before_first = [&] {
      truncator = std::thread([&] {
        std::this_thread::sleep_for(std::chrono::microseconds(round * 20));
        EXPECT_EQ(::truncate(name.c_str(), off_t(size - 1 - (std::uint64_t(round) * 997) % size)),
                  0);
      });
    };
    const Outcome outcome = send_by(path(), segments, options);
    truncator.join();
    const bool copies = outcome.path->name == "copy" || outcome.path->name == "mmap";
    if (outcome.status == Status::Done) {
      EXPECT_TRUE(!copies || outcome.all_right()) << ::testing::PrintToString(outcome);
    } else {
      expect_cut(outcome);
    }
  }
}

// ---------------------------------------------------------------- pipes

class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t count) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit limit{.rlim_cur = count, .rlim_max = before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_P(Source, OutOfDescriptorsFallsToAPathWithoutPipes) {
  const FileRef file = make_file(dir_.file("f"), 500'000);
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {500'000}})};
  std::unique_ptr<DescriptorLimit> limit;
  SendOptions options;
  options.may_fall = true;
  options.before_first = [&] { limit = std::make_unique<DescriptorLimit>(0); };
  const Outcome outcome = send_by(path(), segments, options);
  limit.reset();
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
  // zerocopy is prepared for whom it is chosen for, as here where tee does not fit; a step that
  // falls may not allocate, and goes past it.
  std::string_view without_pipes = path().name == "tee" ? "zerocopy" : "mmap";
  if (path().name == "uring_splice") without_pipes = "copy";
  EXPECT_EQ(outcome.path->name, uses_pipe(path()) ? without_pipes : path().name);
}

TEST_P(Source, PipesOfOnePageDo) {
  const FileRef file = make_file(dir_.file("f"), 200'001);
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{1}, {200'000}})};
  SendOptions options;
  options.pipes.capacity = ByteCount{4096};
  const Outcome outcome = send_by(path(), segments, options);
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
  EXPECT_EQ(outcome.pipe_capacity.value, uses_pipe(*outcome.path) ? 4096U : 0U);
}

/// In a child that is another user: takes pipes until the kernel shrinks them, then sends. Returns
/// the child's exit status.
int send_beyond_the_soft_limit(const egress::Path& path, std::span<const Segment> segments) {
  if (!become_an_ordinary_user()) return 2;  // without CAP_SYS_RESOURCE
  std::vector<sys::Pipe> taken;
  while (taken.empty() || taken.back().capacity.value > 8192) {
    Result<sys::Pipe> pipe = sys::make_pipe(ByteCount{64 * kib});
    if (!pipe) return 3;
    taken.push_back(std::move(*pipe));
  }
  const Outcome outcome = send_by(path, segments);
  const bool shrunk = !uses_pipe(*outcome.path) || outcome.pipe_capacity.value <= 8192;
  const bool by_itself = outcome.path == &path || !outcome.fitted;
  return outcome.all_right() && shrunk && by_itself ? 0 : 1;
}

TEST_P(Source, PipesShrunkByTheUsersSoftLimitDo) {
  const FileRef file = make_file(dir_.file("f"), 200'001);
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{1}, {200'000}})};
  const pid_t child = ::fork();
  if (child == 0) ::_exit(send_beyond_the_soft_limit(path(), segments));
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 3) {
    GTEST_SKIP() << "RLIMIT_NOFILE is reached before fs.pipe-user-pages-soft";
  }
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// ---------------------------------------------------------------- falling through

/// /proc/self/cmdline has no splice_read: sendfile(2) and splice(2) say EINVAL.
TEST_P(Source, AFileThatCannotBeSplicedGoesByAnotherPath) {
  sys::Fd cmdline(::open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC));
  const sys::FileStatus status = *sys::status_of(cmdline.get());
  const FileRef file(new OpenFile(std::move(cmdline), status));
  std::string bytes(4096, '\0');
  const Result<ByteCount> size = sys::read_at(file->fd(), FileOffset{0}, bytes);
  ASSERT_TRUE(size.has_value() && size->value > 0);
  bytes.resize(size->value);
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, *size})};
  const Segment as_memory[] = {Segment::of_memory(head), Segment::of_memory(bytes)};

  Connection connection = connect_over_loopback({});
  Expectation expectation(as_memory);
  const bool sealed = kind_for(path()) != egress::Transport::Kind::Plain;
  Peer peer(std::move(connection.peer), expectation, {.opens_records = sealed});
  WorkerParts parts(path());
  Transfer transfer;
  begin(transfer, path(), segments, connection, parts);
  const std::string_view started = transfer.path->name;
  // One step may send the head and the next find out; both are within the first look at the file.
  StepResult result = step_through(transfer, parts, ByteCount{1});
  EXPECT_EQ(result.status, Status::Moved);
  transfer.stepped = false;  // /proc has neither size nor mtime for the last look to compare
  result = step_through(transfer, parts, ByteCount{1 * mib});
  EXPECT_EQ(result.status, Status::Done);
  egress::finish(transfer);
  connection.sender.close();
  peer.wait();
  EXPECT_TRUE(expectation.complete());
  EXPECT_EQ(expectation.wrong_at(), Expectation::npos);
  const bool splices = started == "sendfile" || started == "splice";
  const std::string_view own = started == "uring_splice" ? "copy" : started;
  EXPECT_EQ(transfer.path->name, splices ? "vmsplice" : own);
}

}  // namespace
}  // namespace pagewire::test
