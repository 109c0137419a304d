// The file that a bench sends: its bytes, that it has no name, and what is in the page cache.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/engine.h"
#include "support/locked_pages.h"
#include "support/position_code.h"
#include "sys/file.h"
#include "sys/page_cache.h"

namespace pagewire::bench {
namespace {

/// On the disk that the build is on: /tmp may be a tmpfs, whose pages cannot be dropped.
class SourceTest : public ::testing::Test {
 protected:
  SourceTest() {
    std::string name = "bench-source-XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~SourceTest() override { std::filesystem::remove_all(folder_); }

  std::size_t names() const {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_)) ++count;
    return count;
  }

  std::string folder_;
};

std::vector<char> content_of(int fd, std::size_t size) {
  std::vector<char> bytes(size + 1);
  const Result<ByteCount> got = sys::read_at(fd, FileOffset{0}, bytes);
  EXPECT_TRUE(got.has_value());
  bytes.resize(got ? got->value : 0);
  return bytes;
}

TEST_F(SourceTest, EveryByteHoldsItsPosition) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{7}, std::size_t{4095},
                                 std::size_t{1 * mib}, std::size_t{3 * mib + 5}}) {
    const Result<sys::Fd> fd = make_position_coded_file(folder_, ByteCount{size});
    ASSERT_TRUE(fd.has_value()) << describe(fd.error());
    const std::vector<char> bytes = content_of(fd->get(), size);
    ASSERT_EQ(bytes.size(), size);
    EXPECT_EQ(test::first_wrong(0, bytes), size);
    EXPECT_NE(bytes[0], '\0');
  }
}

TEST_F(SourceTest, HasNoNameAndIsNotInherited) {
  const Result<sys::Fd> fd = make_position_coded_file(folder_, ByteCount{4096});
  ASSERT_TRUE(fd.has_value());
  struct stat status {};
  ASSERT_EQ(::fstat(fd->get(), &status), 0);
  EXPECT_EQ(status.st_nlink, 0U);
  EXPECT_EQ(names(), 0U);
  EXPECT_NE(::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(SourceTest, SaysWhyItCannotBeMade) {
  EXPECT_EQ(make_position_coded_file(folder_, ByteCount{0}).error().errno_value, EINVAL);
  EXPECT_EQ(make_position_coded_file(folder_ + "/no", ByteCount{1}).error().errno_value, ENOENT);
  // More than any disk has.
  const int error =
      make_position_coded_file(folder_, ByteCount{max_file_size_bytes}).error().errno_value;
  EXPECT_TRUE(error == ENOSPC || error == EFBIG) << std::strerror(error);
  EXPECT_EQ(names(), 0U);
}

TEST_F(SourceTest, ALimitOnFileSizesIsAnErrorAndNoSignal) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit little{.rlim_cur = 1 * mib, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &little), 0);
  const Result<sys::Fd> fd = make_position_coded_file(folder_, ByteCount{2 * mib});
  EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_FALSE(fd.has_value());
  EXPECT_EQ(fd.error().errno_value, EFBIG);
}

TEST_F(SourceTest, CanBeStopped) {
  int asked = 0;
  const Result<sys::Fd> fd =
      make_position_coded_file(folder_, ByteCount{64 * mib}, [&] { return ++asked == 3; });
  ASSERT_FALSE(fd.has_value());
  EXPECT_EQ(fd.error().errno_value, EINTR);
  EXPECT_EQ(asked, 3);
}

/// Pages of our one file in this folder that the disk does not have yet; -1: unknown.
long unwritten_pages(const std::string& folder) {
  constexpr long cachestat_number = 451;  // Linux 6.5; the same on all architectures
  struct {
    std::uint64_t offset;
    std::uint64_t count;
  } whole{0, 0};
  struct {
    std::uint64_t cached, dirty, writeback, evicted, recently_evicted;
  } found{};
  const std::string inside = std::filesystem::absolute(folder).string() + "/";
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (gone || !target.starts_with(inside)) continue;
    const int fd = std::stoi(entry.path().filename());
    if (::syscall(cachestat_number, fd, &whole, &found, 0) != 0) return -1;
    return static_cast<long>(found.dirty + found.writeback);
  }
  return -1;
}

TEST_F(SourceTest, IsWrittenBackAsItGrows) {
  struct statfs filesystem {};
  ASSERT_EQ(::statfs(folder_.c_str(), &filesystem), 0);
  constexpr long ext4 = 0xEF53;
  if (filesystem.f_type != ext4) GTEST_SKIP() << "not on ext4: others may write when they like";
  constexpr std::uint64_t size = 80 * mib + 5;
  long most = -1;
  const Result<sys::Fd> fd = make_position_coded_file(folder_, ByteCount{size}, [&] {
    most = std::max(most, unwritten_pages(folder_));
    return false;
  });
  ASSERT_TRUE(fd.has_value()) << describe(fd.error());
  EXPECT_EQ(test::first_wrong(0, content_of(fd->get(), size)), size);
  if (most < 0) GTEST_SKIP() << "this kernel has no cachestat";
  // The stretch that is on its way, and the one that is being filled.
  EXPECT_LE(static_cast<std::uint64_t>(most) * 4 * kib, 33 * mib);
}

TEST_F(SourceTest, PagesAreCountedAndDropped) {
  constexpr std::uint64_t size = 4 * mib + 100;
  const Result<sys::Fd> fd = make_position_coded_file(folder_, ByteCount{size});
  ASSERT_TRUE(fd.has_value());
  Result<std::optional<ByteCount>> warm;
  {
    const test::LockedPages locked(fd->get(), ByteCount{size});
    warm = sys::resident_bytes(fd->get());
  }
  ASSERT_TRUE(warm.has_value()) << describe(warm.error());
  if (!*warm) GTEST_SKIP() << "this kernel does not tell what its page cache holds";
  EXPECT_EQ((*warm)->value, size);

  const Result<std::optional<std::uint64_t>> cold = drop_pages(fd->get());
  ASSERT_TRUE(cold.has_value()) << describe(cold.error());
  ASSERT_TRUE(cold->has_value());
  // On tmpfs the page cache is the file, and nothing can be dropped.
  struct statfs filesystem {};
  ASSERT_EQ(::fstatfs(fd->get(), &filesystem), 0);
  constexpr long tmpfs = 0x01021994;
  if (filesystem.f_type == tmpfs) GTEST_SKIP() << "on tmpfs, pages stay";
  EXPECT_LT(**cold, size / 2);
  EXPECT_EQ(test::first_wrong(0, content_of(fd->get(), size)), size);
}

TEST_F(SourceTest, BothWaysOfCountingPagesAgree) {
  constexpr std::uint64_t size = 2 * mib + 1;
  const Result<sys::Fd> fd = make_position_coded_file(folder_, ByteCount{size});
  ASSERT_TRUE(fd.has_value());
  const test::LockedPages locked(fd->get(), ByteCount{size});
  const Result<std::optional<ByteCount>> by_mincore = sys::resident_bytes_by_mincore(fd->get());
  ASSERT_TRUE(by_mincore.has_value()) << describe(by_mincore.error());
  EXPECT_EQ(*by_mincore, ByteCount{size});
  EXPECT_EQ(*by_mincore, *sys::resident_bytes(fd->get()));
}

}  // namespace
}  // namespace pagewire::bench
