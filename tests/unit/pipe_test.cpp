// Pipes and their pool: what goes back is empty or is closed.
#include "sys/pipe.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>

namespace pagewire::sys {
namespace {

std::ptrdiff_t open_descriptors() {
  using Iterator = std::filesystem::directory_iterator;
  return std::distance(Iterator("/proc/self/fd"), Iterator());
}

TEST(Pipe, HasTheCapacityThatItSays) {
  for (const std::uint64_t wanted : {std::uint64_t{4096}, 64 * kib, 256 * kib}) {
    const Result<Pipe> pipe = make_pipe(ByteCount{wanted});
    ASSERT_TRUE(pipe.has_value());
    EXPECT_EQ(pipe->capacity.value, wanted);
    const std::string bytes(wanted + 1, 'x');
    EXPECT_EQ(::write(pipe->write_end.get(), bytes.data(), bytes.size()),
              static_cast<ssize_t>(wanted));
    EXPECT_EQ(bytes_in(*pipe)->value, wanted);
  }
}

TEST(Pipe, IsAsLargeAsItMayBeWhereMoreIsWanted) {
  std::uint64_t largest = 0;
  std::ifstream("/proc/sys/fs/pipe-max-size") >> largest;
  ASSERT_GT(largest, 64 * kib);
  const Result<Pipe> pipe = make_pipe(ByteCount{2 * largest});
  ASSERT_TRUE(pipe.has_value());
  // With CAP_SYS_RESOURCE all of it.
  EXPECT_GE(pipe->capacity.value, largest);
}

TEST(Pipe, NeverBlocksAndIsClosedOnExec) {
  const Result<Pipe> pipe = make_pipe(ByteCount{4096});
  ASSERT_TRUE(pipe.has_value());
  for (const int fd : {pipe->read_end.get(), pipe->write_end.get()}) {
    EXPECT_TRUE(::fcntl(fd, F_GETFL) & O_NONBLOCK);
    EXPECT_TRUE(::fcntl(fd, F_GETFD) & FD_CLOEXEC);
  }
  char byte = 0;
  EXPECT_EQ(::read(pipe->read_end.get(), &byte, 1), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST(PipePool, GivesAnEmptyPipeAgain) {
  PipePool pool({.idle = 4});
  Result<Pipe> pipe = pool.take();
  ASSERT_TRUE(pipe.has_value());
  const int fd = pipe->read_end.get();
  pool.give_back(std::move(*pipe));
  EXPECT_EQ(pool.idle(), 1U);
  EXPECT_EQ(pool.take()->read_end.get(), fd);
  EXPECT_EQ(pool.idle(), 0U);
}

TEST(PipePool, ClosesAPipeWithBytesInIt) {
  PipePool pool({.idle = 4});
  const std::ptrdiff_t before = open_descriptors();
  Result<Pipe> pipe = pool.take();
  ASSERT_TRUE(pipe.has_value());
  ASSERT_EQ(::write(pipe->write_end.get(), "x", 1), 1);
  pool.give_back(std::move(*pipe));
  EXPECT_EQ(pool.idle(), 0U);
  EXPECT_EQ(open_descriptors(), before);
}

TEST(PipePool, KeepsNoMoreThanItsLimit) {
  const std::ptrdiff_t before = open_descriptors();
  PipePool pool({.idle = 2});
  {
    Pipe pipes[3] = {*pool.take(), *pool.take(), *pool.take()};
    for (Pipe& pipe : pipes) pool.give_back(std::move(pipe));
  }
  EXPECT_EQ(pool.idle(), 2U);
  EXPECT_EQ(open_descriptors(), before + 4);
}

TEST(PipePool, IgnoresAPipeThatIsClosed) {
  PipePool pool({.idle = 2});
  pool.give_back(Pipe{});
  EXPECT_EQ(pool.idle(), 0U);
}

TEST(PipePool, SaysWhenDescriptorsRunOut) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  PipePool pool({});
  const Result<Pipe> pipe = pool.take();
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(pipe.has_value());
  EXPECT_EQ(pipe.error(), (Error{"pipe2", EMFILE}));
}

}  // namespace
}  // namespace pagewire::sys
