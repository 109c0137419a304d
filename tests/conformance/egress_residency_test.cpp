// Files whose pages are not, or not all, in memory: a step says WantPages and has moved nothing,
// instead of waiting for the disk; and whatever happens to the pages, every byte is right.
//
// Needs a filesystem on a disk: where the temporary folder is a tmpfs, another place is looked for.
#include <sys/mount.h>
#include <sys/vfs.h>

#include <cstdlib>
#include <optional>

#include "egress/residency.h"
#include "harness.h"
#include "support/locked_pages.h"
#include "sys/page_cache.h"

namespace pagewire::test {
namespace {

bool can_be_cold(const std::string& folder) {
  constexpr long tmpfs = 0x01021994;
  constexpr long ramfs = 0x858458f6;
  struct statfs found {};
  if (::statfs(folder.c_str(), &found) != 0) return false;
  return found.f_type != tmpfs && found.f_type != ramfs;
}

/// A folder on a disk, or none.
std::optional<std::string> folder_on_a_disk() {
  for (const std::string& place :
       {std::filesystem::temp_directory_path().string(), std::string("/var/tmp"),
        std::filesystem::current_path().string()}) {
    if (!can_be_cold(place)) continue;
    std::string name = place + "/cold-XXXXXX";
    if (::mkdtemp(name.data()) != nullptr) return name;
  }
  return std::nullopt;
}

class ColdFiles : public EveryPath {
 protected:
  void SetUp() override {
    EveryPath::SetUp();
    folder_ = folder_on_a_disk();
    if (!folder_) GTEST_SKIP() << "no filesystem here whose pages can be dropped";
  }
  void TearDown() override {
    if (folder_) std::filesystem::remove_all(*folder_);
    EveryPath::TearDown();
  }
  std::string file(const std::string& name) const { return *folder_ + "/" + name; }

  /// Position-coded, and not in memory.
  FileRef make_cold(std::size_t size) {
    FileRef made = make_file(file("cold.bin"), size);
    chill(made);
    return made;
  }
  static void chill(const FileRef& file) {
    const ByteRange whole{FileOffset{}, file->status().size};
    // Not at once: somebody else may be looking at the pages, or they are still being written.
    for (int attempt = 0; attempt < 6'000; ++attempt) {
      ASSERT_TRUE(sys::drop_cached_pages(file->fd()).has_value());
      const Result<std::optional<ByteCount>> left = sys::resident_bytes(file->fd());
      if (left && *left && (*left)->value == 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    FAIL() << "the pages of " << whole.count.value << " bytes cannot be dropped";
  }

 private:
  std::optional<std::string> folder_;
};

TEST_P(ColdFiles, AreWantedBeforeAnythingMoves) {
  const FileRef file = make_cold(3 * mib + 123);
  const std::string head = "head\r\n\r\n";
  const std::array<Segment, 2> segments = {Segment::of_memory(head),
                                           slice_of(file, {FileOffset{}, file->status().size})};
  SendOptions options;
  std::vector<ByteRange> wanted;
  std::vector<std::uint64_t> sent;
  options.on_want_pages = [&](Transfer& transfer) {
    wanted.push_back(transfer.wanted.range);
    sent.push_back(transfer.sent.value);
    ASSERT_TRUE(egress::fetch_in_place(transfer).has_value());
  };
  const Outcome outcome = send_by(path(), segments, options);
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
  ASSERT_FALSE(wanted.empty());
  EXPECT_EQ(sent[0], 0U);
  EXPECT_EQ(wanted[0].offset, FileOffset{0});
  // Each is asked for once: what was fetched is believed.
  EXPECT_LE(wanted.size(), file->status().size.value / egress::fetch_size.value + 1);
}

TEST_P(ColdFiles, HotOnesAreNeverWanted) {
  const FileRef file = make_file(this->file("hot.bin"), 3 * mib + 123);
  const LockedPages locked(file->fd(), file->status().size);
  const std::array<Segment, 1> segments = {slice_of(file, {FileOffset{}, file->status().size})};
  SendOptions options;
  options.buffers = {.send = 64 * 1024, .receive = 64 * 1024};
  const Outcome outcome = send_by(path(), segments, options);
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
  EXPECT_EQ(outcome.wants, 0U);
}

/// While a file is known to have been cold, every page of it is asked for; but not for a path whose
/// reads tell all the same what is there.
TEST_P(ColdFiles, WhatWasColdCostsFewLooksWhereReadsTell) {
  const FileRef file = make_file(this->file("was_cold.bin"), 4 * mib);
  const LockedPages locked(file->fd(), file->status().size);
  const std::array<Segment, 1> segments = {slice_of(file, {FileOffset{}, ByteCount{4 * mib}})};
  std::uint64_t looks = 0;
  SendOptions options;
  options.clock_stands = true;  // else a slow machine looks again
  options.buffers = {.send = 64 * 1024, .receive = 64 * 1024};
  options.between_steps = [&](const Transfer& transfer) {
    looks = transfer.resources->residency.looks;
    file->seen() = {};
    file->cold_at_ms() = transfer.resources->residency.now_ms;
  };
  const Outcome outcome = send_by(path(), segments, options);
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
  EXPECT_EQ(outcome.wants, 0U);
  if (path().reads_nowait) {
    EXPECT_GE(looks, 2U);
    EXPECT_LE(looks, 6U);
  }
}

TEST_P(ColdFiles, TheResidentPartGoesFirst) {
  constexpr std::uint64_t hot = 700 * kib;
  const FileRef file = make_cold(2 * mib + 5);
  std::vector<char> scratch(64 * kib);
  // Without the kernel's own reading ahead, which would warm more.
  ASSERT_EQ(::posix_fadvise(file->fd(), 0, 0, POSIX_FADV_RANDOM), 0);
  ASSERT_TRUE(sys::fetch_pages(file->fd(), {FileOffset{}, ByteCount{hot}}, scratch).has_value());
  const LockedPages locked(file->fd(), ByteCount{hot});
  const std::array<Segment, 1> segments = {slice_of(file, {FileOffset{}, file->status().size})};
  SendOptions options;
  std::optional<std::uint64_t> sent_before;
  options.on_want_pages = [&](Transfer& transfer) {
    if (!sent_before) sent_before = transfer.sent.value;
    ASSERT_TRUE(egress::fetch_in_place(transfer).has_value());
  };
  const Outcome outcome = send_by(path(), segments, options);
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
  ASSERT_TRUE(sent_before.has_value());
  EXPECT_GE(*sent_before, hot);
  EXPECT_LT(*sent_before, 2 * mib);
}

TEST_P(ColdFiles, HolesInTheCacheAreFound) {
  const FileRef file = make_cold(2 * mib);
  ASSERT_EQ(::posix_fadvise(file->fd(), 0, 0, POSIX_FADV_RANDOM), 0);
  std::array<char, 1> byte{};
  for (std::uint64_t at = 0; at < 2 * mib; at += 64 * kib) {  // one page of each 64 KiB
    ASSERT_TRUE(sys::read_at(file->fd(), FileOffset{at}, byte).has_value());
  }
  const std::array<Segment, 1> segments = {slice_of(file, {FileOffset{}, ByteCount{2 * mib}})};
  const Outcome outcome = send_by(path(), segments);
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
  EXPECT_GE(outcome.wants, 1U);
}

TEST_P(ColdFiles, EvictedInMidTransfer) {
  const FileRef file = make_cold(4 * mib + 9);
  const std::array<Segment, 1> segments = {slice_of(file, {FileOffset{}, file->status().size})};
  SendOptions options;
  options.buffers = {.send = 16 * 1024, .receive = 16 * 1024};
  options.quantum = ByteCount{256 * kib};
  std::uint64_t next = mib;
  options.between_steps = [&](const Transfer& transfer) {
    if (transfer.sent.value < next) return;
    next += mib;
    static_cast<void>(sys::drop_cached_pages(file->fd()));
  };
  const Outcome outcome = send_by(path(), segments, options);
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
  EXPECT_GE(outcome.wants, 2U);
}

TEST_P(ColdFiles, SlicesOfTheMiddle) {
  const FileRef file = make_cold(5 * mib);
  const std::string between = "\r\n--part\r\n";
  const std::array<Segment, 4> segments = {
      Segment::of_memory(between), slice_of(file, {FileOffset{4'000'001}, ByteCount{70'000}}),
      Segment::of_memory(between), slice_of(file, {FileOffset{99}, ByteCount{1'500'000}})};
  const Outcome outcome = send_by(path(), segments);
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
  EXPECT_GE(outcome.wants, 2U);
}

/// It is waited for, so that the transfer gets on; what lies behind it was never fetched, and the
/// disk may take any time for that.
TEST_P(ColdFiles, WhatWasFetchedAndHasGoneIsReadNoFurther) {
  constexpr std::uint64_t fetched_up_to = 100'000;
  constexpr std::uint64_t from = 90'000;
  constexpr ByteRange rest{FileOffset{from}, ByteCount{2 * mib - from}};
  const FileRef file = make_cold(2 * mib);
  ASSERT_EQ(::posix_fadvise(file->fd(), 0, 0, POSIX_FADV_RANDOM), 0);
  WorkerParts parts(path());
  parts.resources.residency = {.on = true, .now_ms = 1};
  std::vector<char> into(64 * kib);
  ByteCount count;
  // The question whether the pages are there makes the kernel begin to read them, and a quick disk
  // may be done before it is asked again: then this was no wait.
  for (int attempt = 0; attempt < 50 && count.value != fetched_up_to - from; ++attempt) {
    Transfer transfer;
    transfer.resources = &parts.resources;
    transfer.wanted.file = file.get();
    egress::fetched(transfer, {FileOffset{}, ByteCount{fetched_up_to}});
    chill(file);
    const egress::Attempt attempted = egress::read_resident(transfer, *file.get(), rest, into);
    ASSERT_EQ(attempted.status, Status::Moved);
    count = attempted.count;
    EXPECT_EQ(first_wrong(from, {into.data(), count.value}), count.value);
  }
  EXPECT_EQ(count.value, fetched_up_to - from);
}

/// From the middle of a page on, so that what a path reads at once is nowhere what was fetched.
TEST_P(ColdFiles, OddRangesComeWhole) {
  const FileRef file = make_cold(2 * mib);
  const std::array<Segment, 1> segments = {
      slice_of(file, {FileOffset{100'000}, ByteCount{2 * mib - 100'000}})};
  SendOptions options;
  // Only the wanted bytes are there, and nothing of what the kernel would read ahead behind them.
  options.on_want_pages = [&](Transfer& transfer) {
    const ByteRange wanted = transfer.wanted.range;
    EXPECT_TRUE(egress::fetch_in_place(transfer).has_value());
    ::posix_fadvise(file->fd(), static_cast<off_t>(wanted.end().value), 0, POSIX_FADV_DONTNEED);
  };
  const Outcome outcome = send_by(path(), segments, options);
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
  EXPECT_GE(outcome.wants, 1U);  // more, unless the disk is faster than we drop pages
}

/// overlayfs counts no page as its own: its files would be fetched for every step.
TEST_P(ColdFiles, OnOverlayfsAreTakenForHot) {
  for (const char* const part : {"lower", "upper", "work", "all"}) {
    std::filesystem::create_directory(file(part));
  }
  const std::string options =
      "lowerdir=" + file("lower") + ",upperdir=" + file("upper") + ",workdir=" + file("work");
  { const FileRef made = make_file(file("lower/f"), mib + 1); }
  if (::mount("overlay", file("all").c_str(), "overlay", 0, options.c_str()) != 0) {
    GTEST_SKIP() << "overlayfs cannot be mounted: " << std::strerror(errno);
  }
  {
    const FileRef overlaid = open_for_sending(file("all/f"));
    const std::array<Segment, 1> segments = {
        slice_of(overlaid, {FileOffset{}, overlaid->status().size})};
    const Outcome outcome = send_by(path(), segments);
    EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
    EXPECT_EQ(outcome.wants, 0U);
  }
  EXPECT_EQ(::umount(file("all").c_str()), 0) << std::strerror(errno);
}

TEST_P(ColdFiles, WithoutTheGateAreWaitedFor) {
  const FileRef file = make_cold(mib + 1);
  const std::array<Segment, 1> segments = {slice_of(file, {FileOffset{}, file->status().size})};
  SendOptions options;
  options.gated = false;
  const Outcome outcome = send_by(path(), segments, options);
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
  EXPECT_EQ(outcome.wants, 0U);
}

/// A kernel that never admits to having the pages: on_want_pages drops them again.
TEST_P(ColdFiles, WhatIsNeverSeenIsSentAllTheSame) {
  const FileRef file = make_cold(2 * mib + 77);
  const std::array<Segment, 1> segments = {slice_of(file, {FileOffset{}, file->status().size})};
  SendOptions options;
  std::uint64_t unseen = 0;
  options.on_want_pages = [&](Transfer& transfer) {
    ASSERT_TRUE(egress::fetch_in_place(transfer).has_value());
    transfer.seen_file = nullptr;
    file->seen() = {};
    // As far as they are not in a socket's queue, too.
    static_cast<void>(sys::drop_cached_pages(file->fd()));
    // However late the step comes after the fetch.
    transfer.fetched.at_ms -= 3'600'000;
  };
  options.between_steps = [&](const Transfer& transfer) {
    unseen = transfer.resources->residency.unseen;
  };
  const Outcome outcome = send_by(path(), segments, options);
  EXPECT_TRUE(outcome.all_right()) << ::testing::PrintToString(outcome);
  EXPECT_GE(unseen, 1U);
  EXPECT_LE(outcome.wants, 40U);  // `copy` moves 64 KiB a step, and may look again after each
}

TEST_P(ColdFiles, TruncatedBeforeTheyAreFetched) {
  const FileRef file = make_cold(3 * mib);
  const std::array<Segment, 1> segments = {slice_of(file, {FileOffset{}, file->status().size})};
  SendOptions options;
  options.on_want_pages = [&](Transfer& transfer) {
    ASSERT_EQ(::truncate(this->file("cold.bin").c_str(), 100'000), 0);
    ASSERT_TRUE(egress::fetch_in_place(transfer).has_value());
  };
  const Outcome outcome = send_by(path(), segments, options);
  EXPECT_TRUE(outcome.status == Status::SourceTruncated || outcome.status == Status::SourceChanged)
      << ::testing::PrintToString(outcome);
  EXPECT_LE(outcome.received, 100'000U + 4096);
  EXPECT_LE(outcome.wants, 4U);
}

/// As a server that may not write what it serves: cachestat(2) says EPERM, and RWF_NOWAIT decides.
TEST_P(ColdFiles, OfSomebodyElse) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs the root user";
  const FileRef file = make_cold(3 * mib + 1);
  const std::array<Segment, 1> segments = {slice_of(file, {FileOffset{}, file->status().size})};
  constexpr uid_t nobody = 65'534;
  SendOptions cold;
  cold.before_first = [] { ASSERT_EQ(::seteuid(nobody), 0); };
  Outcome first;
  // A look begins to read; on a busy machine the disk may be done with it before we look again.
  for (int attempt = 0; attempt < 20 && first.wants == 0; ++attempt) {
    ASSERT_EQ(::seteuid(0), 0);
    chill(file);
    file->seen() = {};
    first = send_by(path(), segments, cold);
  }
  file->seen() = {};
  const LockedPages locked(file->fd(), file->status().size);
  const Result<std::optional<ByteCount>> told = sys::resident_bytes(file->fd());
  const Outcome again = send_by(path(), segments);
  ASSERT_EQ(::seteuid(0), 0);
  EXPECT_TRUE(told && !told->has_value());
  EXPECT_TRUE(first.all_right()) << ::testing::PrintToString(first);
  EXPECT_GE(first.wants, 1U);
  EXPECT_TRUE(again.all_right()) << ::testing::PrintToString(again);
  EXPECT_EQ(again.wants, 0U);
}

INSTANTIATE_TEST_SUITE_P(AllPaths, ColdFiles,
                         ::testing::ValuesIn(egress::paths().begin(), egress::paths().end()),
                         path_name);

}  // namespace
}  // namespace pagewire::test
