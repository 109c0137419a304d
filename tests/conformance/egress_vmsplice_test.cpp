// What only `vmsplice` does: files that cannot be mapped go as pages that are given away.
#include "harness.h"

namespace pagewire::test {
namespace {

constexpr std::string_view head = "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n";
constexpr std::uint64_t looked_at = 150'001;

/// /proc/kallsyms: mmap(2) says EIO, splice(2) EINVAL, and it is long enough and stands still.
FileRef open_kallsyms() {
  sys::Fd fd(::open("/proc/kallsyms", O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return {};
  const Result<sys::FileStatus> status = sys::status_of(fd.get());
  return FileRef(new OpenFile(std::move(fd), *status));
}

TEST(Vmsplice, AFileThatCannotBeMappedGoesAsAGift) {
  const FileRef file = open_kallsyms();
  std::string bytes(looked_at, '\0');
  const bool long_enough =
      file.has_file() &&
      sys::read_at(file->fd(), FileOffset{0}, bytes).value_or(ByteCount{}).value == looked_at;
  if (!long_enough) GTEST_SKIP() << "no /proc/kallsyms of " << looked_at << " bytes here";
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{5}, {looked_at - 5}})};
  const Segment as_memory[] = {Segment::of_memory(head),
                               Segment::of_memory(std::string_view(bytes).substr(5))};
  for (const std::uint64_t quantum : {1 * mib, 50'000UL, 1000UL}) {
    Connection connection = connect_over_loopback({.send = 20'000, .receive = 20'000});
    Expectation expectation(as_memory);
    Peer peer(std::move(connection.peer), expectation, {});
    WorkerParts parts(*egress::find_path("vmsplice"));
    Transfer transfer;
    begin(transfer, *egress::find_path("vmsplice"), segments, connection, parts);
    WriteEdge edge(connection.sender.get());
    std::uint64_t copied = 0;
    for (bool done = false; !done;) {
      transfer.stepped = false;  // /proc has neither size nor mtime for the last look to compare
      const StepResult result = egress::step(transfer, ByteCount{quantum});
      copied += result.copied.value;
      done = result.status == Status::Done;
      const bool full = result.status == Status::WantWrite;
      ASSERT_TRUE(done || full || result.status == Status::Moved) << describe(result.error);
      ASSERT_TRUE(!full || edge.wait());
      EXPECT_FALSE(transfer.mapping.is_mapped());
    }
    EXPECT_EQ(transfer.path->name, "vmsplice");
    EXPECT_GE(copied, head.size() + looked_at - 5) << "each byte was read once";
    egress::finish(transfer);
    connection.sender.close();
    peer.wait();
    EXPECT_TRUE(expectation.complete());
    EXPECT_EQ(expectation.wrong_at(), Expectation::npos) << quantum;
  }
}

}  // namespace
}  // namespace pagewire::test
