// Pages of a file that stay in memory. DAMON, where somebody has it reclaim (the action pageout),
// drops pages that are in use with regions that it takes for cold; not locked ones (mlock(2)).
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "sys/mapping.h"

namespace pagewire::test {

/// Reads the first `size` bytes and keeps them there as long as it lives; at most some MiB, because
/// of RLIMIT_MEMLOCK.
class LockedPages {
 public:
  LockedPages(int fd, ByteCount size) {
    Result<sys::Mapping> mapping = sys::Mapping::map(fd, {FileOffset{}, size});
    if (mapping) mapping_ = std::move(*mapping);
    EXPECT_TRUE(mapping_.is_mapped() && ::mlock(mapping_.at(FileOffset{}), size.value) == 0)
        << std::strerror(errno);
  }

 private:
  sys::Mapping mapping_;  // munmap(2) unlocks
};

}  // namespace pagewire::test
