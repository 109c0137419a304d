// What only `tee` does: one filled pipe for many clients, and never an old version of a file under
// a new head.
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <optional>

#include "harness.h"
#include "support/stepping_child.h"

namespace pagewire::test {
namespace {

constexpr std::string_view head = "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n";
constexpr std::uint64_t whole_pipe = 64 * kib;

const egress::Path& tee() {
  return *egress::find_path("tee");
}

class Tee : public ::testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    descriptors_ = open_descriptors();
  }
  void TearDown() override {
    parts_.reset();
    EXPECT_EQ(open_descriptors(), descriptors_);
  }
  void lend(std::size_t masters, sys::PipePool::Limits pipes = {}) {
    parts_ = std::make_unique<WorkerParts>(tee(), pipes, masters);
  }
  static std::vector<Segment> answer_of(const FileRef& file) {
    return {Segment::of_memory(head), slice_of(file, {{0}, file->status().size})};
  }

  TempDir dir_;
  std::unique_ptr<WorkerParts> parts_;

 private:
  std::size_t descriptors_ = 0;
};

/// A client on a connection of its own, and the transfer to it.
class Client {
 public:
  Client(std::vector<Segment> segments, WorkerParts& parts, BufferSizes buffers = {})
      : segments_(std::move(segments)),
        connection_(connect_over_loopback(buffers)),
        expectation_(segments_) {
    begin(transfer, tee(), segments_, connection_, parts);
  }
  ~Client() { end(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  Status step(ByteCount quantum = ByteCount{1 * mib}) {
    result_ = egress::step(transfer, quantum);
    return result_.status;
  }
  /// To the end, while the peer reads.
  Status run() {
    peer_.emplace(std::move(connection_.peer), expectation_, PeerHabits{});
    WriteEdge edge(connection_.sender.get());
    for (;;) {
      switch (step()) {
        case Status::Moved:
          continue;
        case Status::WantWrite:
          if (edge.wait()) continue;
          ADD_FAILURE() << "never became writable";
          return Status::Failed;
        default:
          return result_.status;
      }
    }
  }
  void end() {
    if (!connection_.sender.is_open()) return;
    egress::finish(transfer);
    connection_.sender.close();
    if (!peer_) peer_.emplace(std::move(connection_.peer), expectation_, PeerHabits{});
    peer_->wait();
  }
  /// Every byte arrived and was right.
  bool all_right() {
    end();
    return expectation_.complete() && expectation_.wrong_at() == Expectation::npos;
  }
  bool nothing_wrong() {
    end();
    return expectation_.wrong_at() == Expectation::npos;
  }

  Transfer transfer;

 private:
  std::vector<Segment> segments_;
  Connection connection_;
  Expectation expectation_;
  std::optional<Peer> peer_;
  StepResult result_;
};

void overwrite(const std::string& name, std::uint64_t size, Generation version) {
  const sys::Fd fd(::open(name.c_str(), O_WRONLY | O_CLOEXEC));
  write_all(fd.get(), 0, positions(0, size, version));
}

// ---------------------------------------------------------------- one master, many clients

TEST_F(Tee, FitsWholeFilesThatAPipeHolds) {
  const egress::Transport plain{.socket_fd = 0};
  const FileRef most = make_file(dir_.file("1"), whole_pipe);
  const FileRef more = make_file(dir_.file("2"), whole_pipe + 1);
  const auto fits = [&](const FileRef& file, ByteRange slice) {
    const std::vector<Segment> segments{Segment::of_memory(head), slice_of(file, slice)};
    return tee().fits(segments, plain);
  };
  EXPECT_TRUE(fits(most, {{0}, {whole_pipe}}));
  EXPECT_TRUE(fits(most, {{0}, {1}}));
  EXPECT_FALSE(fits(most, {{1}, {1}}));
  EXPECT_FALSE(fits(more, {{0}, {whole_pipe + 1}}));
  EXPECT_FALSE(fits(more, {{0}, {1}}));
  EXPECT_NE(std::string_view(tee().fits_only), "");
}

TEST_F(Tee, TheFileIsReadOnceForManyClients) {
  lend(4);
  const FileRef file = make_file(dir_.file("f"), whole_pipe);
  const std::size_t before = open_descriptors();
  for (int client = 0; client < 5; ++client) {
    Client one(answer_of(file), *parts_);
    EXPECT_EQ(one.run(), Status::Done);
    EXPECT_EQ(one.transfer.path, &tee());
    EXPECT_TRUE(one.all_right());
  }
  EXPECT_EQ(parts_->pool.idle(), 1U);
  EXPECT_EQ(open_descriptors() - before, 4U) << "a master, and a pipe in the pool";
}

TEST_F(Tee, TwoClientsAtOnceEachGetEverything) {
  lend(4);
  const FileRef file = make_file(dir_.file("f"), whole_pipe - 5);
  const BufferSizes tiny{.send = 1, .receive = 5000};
  Client one(answer_of(file), *parts_, tiny);
  Client two(answer_of(file), *parts_, tiny);
  // Both stop in mid-slice: what each holds is in its own pipe.
  while (one.step(ByteCount{7001}) == Status::Moved) {
  }
  while (two.step(ByteCount{911}) == Status::Moved) {
  }
  EXPECT_GT(one.transfer.in_pipe.value, 0U);
  EXPECT_GT(two.transfer.in_pipe.value, 0U);
  EXPECT_EQ(one.run(), Status::Done);
  EXPECT_EQ(two.run(), Status::Done);
  EXPECT_TRUE(one.all_right());
  EXPECT_TRUE(two.all_right());
}

TEST_F(Tee, APipeWithADeadClientsBytesIsNotUsedAgain) {
  lend(4);
  const FileRef one_file = make_file(dir_.file("1"), 60'000);
  {
    Client dead(answer_of(one_file), *parts_, {.send = 1, .receive = 5000});
    while (dead.step() == Status::Moved) {
    }
    EXPECT_GT(dead.transfer.in_pipe.value, 0U);
    egress::finish(dead.transfer);
    EXPECT_EQ(parts_->pool.idle(), 0U);
  }
  Client next(answer_of(one_file), *parts_);
  EXPECT_EQ(next.run(), Status::Done);
  EXPECT_TRUE(next.all_right());
}

TEST_F(Tee, PartsOfSeveralFilesInOneAnswer) {
  lend(2);
  const FileRef one = make_file(dir_.file("1"), 50'000);
  const FileRef two = make_file(dir_.file("2"), 9);
  std::vector<Segment> segments;
  for (const std::uint64_t count : {1UL, 4096UL, 4097UL, 50'000UL}) {
    segments.push_back(Segment::of_memory(head));
    segments.push_back(slice_of(one, {{0}, {count}}));
    segments.push_back(slice_of(two, {{0}, {9}}));
  }
  Client client(segments, *parts_);
  EXPECT_EQ(client.run(), Status::Done);
  EXPECT_EQ(client.transfer.path, &tee());
  EXPECT_TRUE(client.all_right());
}

/// A pipe of one page takes the first page by tee, and the rest by splice from the file.
TEST_F(Tee, AClientsPipeWithLessRoomThanTheMaster) {
  for (const std::uint64_t capacity : {4096UL, 8192UL, 32'768UL}) {
    lend(4, {.capacity = ByteCount{capacity}});
    const FileRef file = make_file(dir_.file("f"), 60'001);
    Client client(answer_of(file), *parts_);
    EXPECT_EQ(client.run(), Status::Done);
    EXPECT_EQ(client.transfer.path, &tee());
    EXPECT_EQ(client.transfer.pipe.capacity.value, capacity);
    EXPECT_TRUE(client.all_right());
  }
}

// ---------------------------------------------------------------- versions

TEST_F(Tee, ReplacedByRenameBetweenTwoClients) {
  lend(4);
  const std::string name = dir_.file("f");
  write_all(create_file(name).get(), 0, positions(0, 20'000, 1));
  const FileRef old_file = open_for_sending(name);
  Client before(answer_of(old_file), *parts_);
  EXPECT_EQ(before.run(), Status::Done);
  write_all(create_file(dir_.file("new")).get(), 0, positions(0, 20'000));
  ASSERT_EQ(::rename(dir_.file("new").c_str(), name.c_str()), 0);
  const FileRef new_file = open_for_sending(name);
  Client after(answer_of(new_file), *parts_);
  EXPECT_EQ(after.run(), Status::Done);
  EXPECT_TRUE(after.all_right());
  Client late(answer_of(old_file), *parts_);  // whose head was made before the rename
  EXPECT_EQ(late.run(), Status::Done);
  EXPECT_EQ(late.transfer.path, &tee());
  EXPECT_FALSE(late.all_right()) << "it has the old version, whole";
}

/// The same inode; the open-file cache would make a new OpenFile of it, and a new head.
TEST_F(Tee, OverwrittenBetweenTwoClients) {
  lend(4);
  const std::string name = dir_.file("f");
  const FileRef old_file = make_file(name, 30'000);
  Client before(answer_of(old_file), *parts_);
  EXPECT_EQ(before.run(), Status::Done);
  EXPECT_TRUE(before.all_right());
  overwrite(name, 30'000, 1);
  Client under_old_head(answer_of(old_file), *parts_);
  EXPECT_EQ(under_old_head.run(), Status::SourceChanged);
  overwrite(name, 30'000, 0);
  const FileRef new_file = open_for_sending(name);
  Client after(answer_of(new_file), *parts_);
  EXPECT_EQ(after.run(), Status::Done);
  EXPECT_TRUE(after.all_right());
}

/// Truncated pages stay in the master as they were: only the look at the file tells.
TEST_F(Tee, TruncatedAndWrittenAgainBetweenTwoClients) {
  lend(4);
  const std::string name = dir_.file("f");
  write_all(create_file(name).get(), 0, positions(0, 30'000, 1));
  const FileRef old_file = open_for_sending(name);
  {
    Client before(answer_of(old_file), *parts_);
    EXPECT_EQ(before.run(), Status::Done);
  }
  ASSERT_EQ(::truncate(name.c_str(), 0), 0);
  overwrite(name, 30'000, 0);
  Client under_old_head(answer_of(old_file), *parts_);
  EXPECT_EQ(under_old_head.run(), Status::SourceChanged);
  const FileRef new_file = open_for_sending(name);
  Client after(answer_of(new_file), *parts_);
  EXPECT_EQ(after.run(), Status::Done);
  EXPECT_TRUE(after.all_right()) << "the old version's bytes, or some of them";
}

TEST_F(Tee, ChangedBeforeItsMasterIsFilled) {
  lend(4);
  const std::string name = dir_.file("f");
  const FileRef file = make_file(name, 30'000);
  overwrite(name, 30'000, 1);
  Client client(answer_of(file), *parts_);
  EXPECT_EQ(client.run(), Status::SourceChanged);
  EXPECT_TRUE(client.nothing_wrong());
  ASSERT_EQ(::truncate(name.c_str(), 29'999), 0);
  // Without a head, so that it is the master's own finding and not the last look's.
  Client shorter({slice_of(file, {{0}, {30'000}})}, *parts_);
  EXPECT_EQ(shorter.run(), Status::SourceTruncated);
  EXPECT_TRUE(shorter.nothing_wrong());
}

// ---------------------------------------------------------------- limits

TEST_F(Tee, TheLeastRecentlyUsedMasterGoes) {
  lend(2);
  std::vector<FileRef> files;
  for (const char* name : {"0", "1", "2"}) files.push_back(make_file(dir_.file(name), 20'000));
  const std::size_t before = open_descriptors();
  for (const std::size_t use : {0UL, 2UL, 0UL, 1UL}) {
    Client client(answer_of(files[use]), *parts_);
    EXPECT_EQ(client.run(), Status::Done);
    EXPECT_EQ(client.transfer.path, &tee());
    EXPECT_TRUE(client.all_right());
  }
  EXPECT_EQ(open_descriptors() - before, 6U) << "two masters, and a pipe in the pool";
  for (std::size_t i = 0; i < files.size(); ++i) {
    const int fd = files[i]->fd();
    const sys::FileStatus status = files[i]->status();
    files[i] = FileRef();
    const bool is_held = sys::status_of(fd).value_or(sys::FileStatus{}) == status;
    EXPECT_EQ(is_held, i != 2) << i;
  }
}

TEST_F(Tee, AnEvictedFileIsLetGo) {
  lend(1);
  FileRef file = make_file(dir_.file("1"), 20'000);
  const FileRef other = make_file(dir_.file("2"), 20'000);
  {
    Client client(answer_of(file), *parts_);
    EXPECT_EQ(client.run(), Status::Done);
  }
  const int fd = file->fd();
  const sys::FileStatus status = file->status();
  file = FileRef();
  EXPECT_EQ(sys::status_of(fd).value_or(sys::FileStatus{}), status) << "its master holds it";
  Client next(answer_of(other), *parts_);
  EXPECT_EQ(next.run(), Status::Done);
  EXPECT_NE(sys::status_of(fd).value_or(sys::FileStatus{}), status);
}

TEST_F(Tee, WithoutMastersAnotherPathDoesIt) {
  lend(0);
  const FileRef file = make_file(dir_.file("f"), 20'000);
  Client client(answer_of(file), *parts_);
  EXPECT_EQ(client.run(), Status::Done);
  EXPECT_EQ(client.transfer.path->name, "mmap");
  EXPECT_TRUE(client.all_right());
}

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

TEST_F(Tee, OutOfDescriptorsForTheMasterOrForTheClient) {
  const FileRef file = make_file(dir_.file("f"), 20'000);
  for (const bool has_client_pipe : {false, true}) {
    lend(4);
    if (has_client_pipe) {
      Result<sys::Pipe> pipe = parts_->pool.take();
      ASSERT_TRUE(pipe.has_value());
      parts_->pool.give_back(std::move(*pipe));
    }
    Client client(answer_of(file), *parts_);
    {
      const DescriptorLimit limit(0);
      EXPECT_EQ(client.step(), Status::Moved);  // the head
      EXPECT_EQ(client.step(), Status::Done);
    }
    EXPECT_EQ(client.transfer.path->name, "mmap") << has_client_pipe;
    EXPECT_TRUE(client.all_right());
  }
}

/// In a child that is another user, whom the soft limit concerns: masters of two pages.
int tee_beyond_the_soft_limit(const FileRef& small, const FileRef& large) {
  if (!become_an_ordinary_user()) return 2;  // without CAP_SYS_RESOURCE
  std::vector<sys::Pipe> taken;
  while (taken.empty() || taken.back().capacity.value > 8192) {
    Result<sys::Pipe> pipe = sys::make_pipe(ByteCount{64 * kib});
    if (!pipe) return 3;
    taken.push_back(std::move(*pipe));
  }
  WorkerParts parts(tee());
  for (const FileRef* const file : {&small, &large}) {
    Client client({Segment::of_memory(head), slice_of(*file, {{0}, (*file)->status().size})},
                  parts);
    if (client.run() != Status::Done) return 4;
    const bool by_tee = client.transfer.path == &tee();
    if (!client.all_right() || by_tee != (file == &small)) return 1;
  }
  return 0;
}

TEST_F(Tee, MastersShrunkByTheUsersSoftLimit) {
  const FileRef small = make_file(dir_.file("1"), 4000);
  const FileRef large = make_file(dir_.file("2"), 20'000);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(tee_beyond_the_soft_limit(small, large));
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 3) {
    GTEST_SKIP() << "RLIMIT_NOFILE is reached before fs.pipe-user-pages-soft";
  }
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace pagewire::test
