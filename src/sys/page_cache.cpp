#include "sys/page_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "sys/file.h"
#include "sys/mapping.h"

namespace pagewire::sys {

namespace {

// cachestat(2), newer than Debian 12's headers; the number is the same on every architecture.
constexpr long cachestat_number = 451;
struct CachestatRange {
  std::uint64_t offset;
  std::uint64_t length;  ///< 0: to the end
};
struct Cachestat {
  std::uint64_t cached;
  std::uint64_t dirty;
  std::uint64_t under_writeback;
  std::uint64_t evicted;
  std::uint64_t recently_evicted;
};

std::uint64_t page_bytes() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

/// mincore(2) says "resident" of every page to whoever neither owns the file nor may write it.
bool mincore_tells(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return false;
  return status.st_uid == ::geteuid() || ::faccessat(fd, "", W_OK, AT_EMPTY_PATH | AT_EACCESS) == 0;
}

}  // namespace

Result<void> drop_cached_pages(int fd) {
  // Dirty pages would stay. EROFS, EINVAL: a filesystem without a way back, so without dirty pages.
  if (::fdatasync(fd) != 0 && errno != EROFS && errno != EINVAL) return last_error("fdatasync");
  const int error = ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  if (error != 0) return failure("posix_fadvise", error);
  return {};
}

Result<std::optional<ByteCount>> resident_bytes(int fd) {
  const Result<FileStatus> status = status_of(fd);
  if (!status) return tl::unexpected(status.error());
  CachestatRange whole{0, 0};
  Cachestat found{};
  if (::syscall(cachestat_number, fd, &whole, &found, 0) == 0) {
    return ByteCount{std::min(found.cached * page_bytes(), status->size.value)};
  }
  switch (errno) {
    case ENOSYS:  // a kernel before 6.5, or a seccomp filter that does not know the call
      return resident_bytes_by_mincore(fd);
    case EPERM:       // the file is somebody else's and not ours to write; or a seccomp filter
    case EOPNOTSUPP:  // hugetlbfs
      return std::nullopt;
    default:
      return last_error("cachestat");
  }
}

Result<std::optional<ByteCount>> resident_bytes_by_mincore(int fd) {
  const Result<FileStatus> status = status_of(fd);
  if (!status) return tl::unexpected(status.error());
  if (!mincore_tells(fd)) return std::nullopt;
  constexpr ByteCount window{gib};
  std::vector<unsigned char> pages;
  std::uint64_t resident = 0;
  for (std::uint64_t at = 0; at < status->size.value; at += window.value) {
    const ByteCount size = std::min(window, status->size - ByteCount{at});
    const Result<Mapping> mapping = Mapping::map(fd, {FileOffset{at}, size});
    if (!mapping) return tl::unexpected(mapping.error());
    pages.resize((size.value + page_bytes() - 1) / page_bytes());
    char* const begin = const_cast<char*>(mapping->at(FileOffset{at}));
    // ENOMEM: the file was truncated under the mapping.
    if (::mincore(begin, size.value, pages.data()) != 0) return last_error("mincore");
    for (const unsigned char page : pages) resident += (page & 1) * page_bytes();
  }
  return ByteCount{std::min(resident, status->size.value)};
}

Result<bool> is_resident(int fd, FileOffset offset) {
  char byte = 0;
  const iovec into{.iov_base = &byte, .iov_len = 1};
  for (;;) {
    const ssize_t n = ::preadv2(fd, &into, 1, static_cast<off_t>(offset.value), RWF_NOWAIT);
    if (n >= 0) return n > 0;
    if (errno == EAGAIN) return false;  // it would have waited
    if (errno != EINTR) return last_error("preadv2");
  }
}

}  // namespace pagewire::sys
