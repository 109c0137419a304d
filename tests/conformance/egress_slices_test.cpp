// What goes out, byte by byte: whole files, ranges, many segments, files beyond 4 GiB; and that a
// step costs the system calls it should. Every test runs over every registered path.
#include "harness.h"

namespace pagewire::test {
namespace {

constexpr std::string_view head = "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n";

class Slices : public EveryPath {};
INSTANTIATE_TEST_SUITE_P(Egress, Slices, ::testing::ValuesIn(egress::paths()), path_name);

TEST_P(Slices, WholeFilesOfEverySize) {
  for (const std::size_t size :
       {1UL, 7UL, 4095UL, 4096UL, 4097UL, 65535UL, 65536UL, 65537UL, 1048576UL, 3000001UL}) {
    const FileRef file = make_file(dir_.file("f"), size);
    const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {size}})};
    const Outcome outcome = send_by(path(), segments);
    EXPECT_TRUE(outcome.all_right()) << size << ": " << ::testing::PrintToString(outcome);
  }
}

TEST_P(Slices, AnEmptyFileIsOnlyItsHead) {
  const FileRef file = make_file(dir_.file("f"), 0);
  const Segment segments[] = {Segment::of_memory(head)};
  EXPECT_TRUE(send_by(path(), segments).all_right());
}

TEST_P(Slices, NothingAtAllIsDoneAtOnce) {
  const Outcome nothing = send_by(path(), {});
  EXPECT_TRUE(nothing.all_right());
  EXPECT_EQ(nothing.calls, 0U);
  const Segment empty[] = {Segment::of_memory(""), Segment::of_memory("")};
  EXPECT_TRUE(send_by(path(), empty).all_right());
}

TEST_P(Slices, EveryKindOfRange) {
  constexpr std::uint64_t size = 200'003;
  const FileRef file = make_file(dir_.file("f"), size);
  const ByteRange ranges[] = {
      {{0}, {1}},         {{size - 1}, {1}},  {{1}, {size - 1}},      {{0}, {size - 1}},
      {{4095}, {1}},      {{4096}, {1}},      {{4095}, {2}},          {{4096}, {4096}},
      {{4095}, {4098}},   {{4097}, {8190}},   {{8191}, {65537}},      {{65535}, {2}},
      {{1}, {65536}},     {{12288}, {65536}}, {{3}, {131072}},        {{size - 4097}, {4097}},
      {{196608}, {3395}}, {{196607}, {3396}}, {{100'000}, {100'003}},
  };
  for (const ByteRange range : ranges) {
    const Segment segments[] = {Segment::of_memory(head), slice_of(file, range)};
    const Outcome outcome = send_by(path(), segments);
    EXPECT_TRUE(outcome.all_right()) << range.offset.value << "+" << range.count.value << ": "
                                     << ::testing::PrintToString(outcome);
  }
}

TEST_P(Slices, EveryOffsetAroundAPage) {
  const FileRef file = make_file(dir_.file("f"), 20'000);
  std::vector<Segment> segments;
  for (std::uint64_t offset = 4090; offset < 4103; ++offset) {
    for (const std::uint64_t count : {1UL, 6UL, 4096UL, 8192UL}) {
      segments.push_back(slice_of(file, {{offset}, {count}}));
    }
  }
  const Outcome outcome = send_by(path(), segments);
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
}

TEST_P(Slices, MultipartWithEmptyMemoryBetween) {
  const FileRef one = make_file(dir_.file("1"), 300'000);
  const FileRef two = make_file(dir_.file("2"), 70'000);
  const std::string part_head = "\r\n--boundary\r\nContent-Range: bytes 1-2/3\r\n\r\n";
  std::vector<Segment> segments{Segment::of_memory(""), Segment::of_memory(head)};
  for (std::uint64_t i = 0; i < 40; ++i) {
    segments.push_back(Segment::of_memory(part_head));
    segments.push_back(Segment::of_memory(""));
    segments.push_back(slice_of(one, {{i * 7001}, {i * 97 + 1}}));
    segments.push_back(slice_of(two, {{i * 811}, {4096}}));
  }
  segments.push_back(Segment::of_memory("\r\n--boundary--\r\n"));
  segments.push_back(Segment::of_memory(""));
  for (const std::uint64_t quantum : {1 * mib, 1000UL}) {
    const Outcome outcome = send_by(path(), segments, {.quantum = {quantum}});
    EXPECT_TRUE(outcome.all_right()) << quantum << ": " << ::testing::PrintToString(outcome);
  }
}

TEST_P(Slices, MoreMemorySegmentsThanOneCallTakes) {
  const std::string bytes = positions(0, 100'000);
  std::vector<Segment> segments;
  for (std::size_t i = 0; i < 1000; ++i) {
    segments.push_back(Segment::of_memory(std::string_view(bytes).substr(i * 100, 100)));
  }
  for (const std::uint64_t quantum : {1 * mib, 3300UL, 99UL}) {
    EXPECT_TRUE(send_by(path(), segments, {.quantum = {quantum}}).all_right()) << quantum;
  }
}

TEST_P(Slices, QuantaThatCutSlicesAnywhere) {
  const FileRef file = make_file(dir_.file("f"), 30'000);
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{11}, {29'989}})};
  for (const std::uint64_t quantum : {7UL, 4095UL, 4096UL, 4097UL, 10'000UL}) {
    const Outcome outcome = send_by(path(), segments, {.quantum = {quantum}});
    EXPECT_TRUE(outcome.all_right()) << quantum << ": " << ::testing::PrintToString(outcome);
  }
}

/// Islands of data around the places where 31 and 32 bits end; the rest is a hole.
struct SparseFile {
  static constexpr std::uint64_t size = 4 * gib + 300'001;
  std::vector<ByteRange> islands{{{0}, {5000}},
                                 {{2 * gib - 5000}, {10'000}},
                                 {{4 * gib - 5000}, {10'000}},
                                 {{size - 5000}, {5000}}};
  FileRef file;

  explicit SparseFile(const std::string& path) {
    const sys::Fd fd = create_file(path);
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
    for (const ByteRange& island : islands) {
      write_all(fd.get(), island.offset.value, positions(island.offset.value, island.count.value));
    }
    file = open_for_sending(path);
  }
};

TEST_P(Slices, RangesBeyondFourGibibytes) {
  const SparseFile sparse(dir_.file("f"));
  const Segment segments[] = {
      slice_of(sparse.file, {{4 * gib - 3}, {7}}),
      slice_of(sparse.file, {{4 * gib}, {1}}),
      slice_of(sparse.file, {{2 * gib - 70'000}, {140'000}}),
      slice_of(sparse.file, {{4 * gib - 70'000}, {140'000}}),
      slice_of(sparse.file, {{SparseFile::size - 1}, {1}}),
      slice_of(sparse.file, {{SparseFile::size - 123'456}, {123'456}}),
  };
  const Outcome outcome = send_by(path(), segments, {.islands = sparse.islands});
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
}

/// What of a file beyond 4 GiB goes out, as one slice of all of it.
struct Part {
  ByteCount gone_before;  ///< the transfer begins behind these
  ByteCount until_reset;  ///< then the peer ends it; 0: all the rest
};

Outcome send_large(const egress::Path& path, const SparseFile& sparse, Part part) {
  const Segment segments[] = {Segment::of_memory(head),
                              slice_of(sparse.file, {{0}, {SparseFile::size}})};
  SendOptions options;
  options.quantum = ByteCount{16 * mib};
  options.islands = sparse.islands;
  if (part.gone_before.value > 0) options.gone_before = ByteCount{head.size()} + part.gone_before;
  if (part.until_reset.value > 0) {
    options.habits.reset_after = (options.gone_before + part.until_reset).value;
  }
  // Drops from the page cache what has gone: a test must not need 4 GiB of memory.
  options.between_steps = [&, dropped = options.gone_before.value](const Transfer& now) mutable {
    if (now.sent.value - dropped < 64 * mib) return;
    dropped = now.sent.value;
    ::posix_fadvise(sparse.file->fd(), 0, static_cast<off_t>(dropped), POSIX_FADV_DONTNEED);
  };
  return send_by(path, segments, options);
}

/// Where its position, or what is left of it, goes over 31 or 32 bits. Between lie only holes,
/// whose 4 GiB would take each path seconds.
TEST_P(Slices, ASliceBeyondFourGibibytes) {
  const SparseFile sparse(dir_.file("f"));
  for (const std::uint64_t gone_before : {std::uint64_t{0}, 2 * gib - 10 * mib - 1}) {
    const ByteCount until_reset{40 * mib};
    const Outcome outcome = send_large(path(), sparse, {ByteCount{gone_before}, until_reset});
    EXPECT_EQ(outcome.status, Status::PeerGone) << ::testing::PrintToString(outcome);
    EXPECT_EQ(outcome.wrong_at, Expectation::npos) << ::testing::PrintToString(outcome);
    EXPECT_GE(outcome.received, gone_before + until_reset.value);
  }
  const Outcome outcome = send_large(path(), sparse, {ByteCount{4 * gib - 10 * mib - 1}, {}});
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
}

TEST(WholeFile, BeyondFourGibibytes) {
  const egress::Path& sendfile = *egress::find_path("sendfile");
  if (const std::string why = no_kernel_tls(sendfile); !why.empty()) GTEST_SKIP() << why;
  const TempDir dir;
  const SparseFile sparse(dir.file("f"));
  const Outcome outcome = send_large(sendfile, sparse, {});
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
}

TEST_P(Slices, MemoryAloneIsOneCall) {
  const std::string body = positions(0, 3000);
  const Segment only_head[] = {Segment::of_memory(head)};
  EXPECT_EQ(send_by(path(), only_head).calls, 1U);
  const Segment both[] = {Segment::of_memory(head), Segment::of_memory(body)};
  const Outcome outcome = send_by(path(), both);
  EXPECT_TRUE(outcome.all_right());
  EXPECT_EQ(outcome.calls, 1U);
}

TEST_P(Slices, ASmallFileIsOneCallByCopyAndTwoBySlices) {
  const FileRef file = make_file(dir_.file("f"), 4000);
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {4000}})};
  const Outcome outcome = send_by(path(), segments);
  EXPECT_TRUE(outcome.all_right());
  const bool gathers = path().name == "copy" || path().name == "tls_copy";
  EXPECT_EQ(outcome.calls, gathers ? 1U : 2U);
}

/// What the bill of a path rests on. A new path says here what it copies.
TEST_P(Slices, CountsWhatTheCpuCopied) {
  for (const std::uint64_t size : {1'000'000UL, 50'000UL}) {  // not every path fits the first
    const std::uint64_t rest_of_page = size % 4096;
    const FileRef file = make_file(dir_.file("f"), size);
    const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {size}})};
    const Outcome outcome = send_by(path(), segments);
    ASSERT_TRUE(outcome.all_right());
    const std::string_view name = outcome.path->name;
    if (name == "sendfile" || name == "splice" || name == "tee" || name == "uring_splice") {
      EXPECT_EQ(outcome.copied, head.size());
    } else if (name == "vmsplice") {  // the last part of a page is read and sent
      EXPECT_EQ(outcome.copied, head.size() + 2 * rest_of_page);
    } else if (name == "zerocopy") {  // likewise; on loopback the kernel copies after all
      EXPECT_EQ(outcome.copied, head.size() + size + rest_of_page);
      EXPECT_GT(outcome.zero_copy.sends, 0U);
    } else if (name == "mmap") {  // likewise
      EXPECT_EQ(outcome.copied, head.size() + size + rest_of_page);
    } else if (name == "uring_zc" || name == "uring_zc_sqpoll") {
      // Into a registered buffer, and out of it only by the sends of less than a page that full
      // sockets leave over. What the kernel copies after all, as over loopback, stays within it.
      EXPECT_GE(outcome.copied, head.size() + size);
      EXPECT_LT(outcome.copied, head.size() + size + size / 4);
    } else if (name == "copy") {  // and more where the socket was full: that is read again
      EXPECT_GE(outcome.copied, head.size() + 2 * size);
    } else if (name == "tls_copy") {  // read, and sent as records
      EXPECT_GT(outcome.copied, head.size() + 2 * size);
      EXPECT_LT(outcome.copied, head.size() + 2 * size + size / 16);
    } else {
      ADD_FAILURE() << name << ": say here how often this path copies a byte";
    }
  }
}

/// A last segment that was announced with MSG_MORE would stay in the kernel for 200 ms, each time.
TEST_P(Slices, NothingIsHeldBackAtTheEnd) {
  const FileRef file = make_file(dir_.file("f"), 5000);
  const Segment segments[] = {Segment::of_memory(head), slice_of(file, {{0}, {5000}}),
                              Segment::of_memory("")};
  SendOptions options;
  options.await_acknowledgement = true;
  auto quickest = std::chrono::steady_clock::duration::max();
  for (int i = 0; i < 20; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    ASSERT_TRUE(send_by(path(), segments, options).all_right());
    quickest = std::min(quickest, std::chrono::steady_clock::now() - begin);
  }
  EXPECT_LT(quickest, std::chrono::milliseconds(150));
}

}  // namespace
}  // namespace pagewire::test
