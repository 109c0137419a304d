#include "sys/page_cache.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "sys/file.h"
#include "sys/mapping.h"
#include "sys/page_size.h"

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
    return ByteCount{std::min(found.cached * page_size(), status->size.value)};
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
    pages.resize((size.value + page_size() - 1) / page_size());
    char* const begin = const_cast<char*>(mapping->at(FileOffset{at}));
    // ENOMEM: the file was truncated under the mapping.
    if (::mincore(begin, size.value, pages.data()) != 0) return last_error("mincore");
    for (const unsigned char page : pages) resident += (page & 1) * page_size();
  }
  return ByteCount{std::min(resident, status->size.value)};
}

namespace {

/// The pages that `range` touches, first to last.
struct Pages {
  std::uint64_t first;
  std::uint64_t count;
};

Pages pages_of(ByteRange range) {
  const std::uint64_t first = range.offset.value / page_size();
  return {first, (range.end().value - 1) / page_size() - first + 1};
}

/// Whether the file's pages are in another file's cache: those of overlayfs, the usual filesystem
/// of a container, are in the cache of the layer below, and cachestat counts none, ever.
bool caches_elsewhere(int fd) {
  struct statfs filesystem {};
  return ::fstatfs(fd, &filesystem) == 0 && filesystem.f_type == OVERLAYFS_SUPER_MAGIC;
}

/// How many of the pages the cache holds, read or being read; nullopt: the kernel does not tell
/// (ENOSYS: before Linux 6.5, or seccomp; EPERM: not ours to write; EOPNOTSUPP: hugetlbfs; or see
/// above).
std::optional<std::uint64_t> cached_pages(int fd, Pages pages) {
  CachestatRange range{pages.first * page_size(), pages.count * page_size()};
  Cachestat found{};
  if (::syscall(cachestat_number, fd, &range, &found, 0) != 0) return std::nullopt;
  if (found.cached == 0 && caches_elsewhere(fd)) return std::nullopt;
  return found.cached;
}

/// How many pages, from the first on, the cache holds without a gap. Asks again for each halving:
/// cachestat counts, and does not say where.
std::uint64_t cached_run(int fd, Pages pages) {
  std::uint64_t present = 0;            // that many are all there
  std::uint64_t missing = pages.count;  // and of that many not all
  while (missing - present > 1) {
    const std::uint64_t middle = present + (missing - present) / 2;
    const Pages half{pages.first + present, middle - present};
    if (cached_pages(fd, half) == half.count) {
      present = middle;
    } else {
      missing = middle;
    }
  }
  return present;
}

/// Whether a read of the byte at `offset` would have to wait.
bool would_wait(int fd, std::uint64_t offset) {
  char byte = 0;
  const iovec into{&byte, 1};
  // EAGAIN: not there, or not read yet. Anything else does not wait: 0 is the end of the file,
  // EOPNOTSUPP a filesystem that cannot tell.
  return ::preadv2(fd, &into, 1, static_cast<off_t>(offset), RWF_NOWAIT) < 0 && errno == EAGAIN;
}

/// How much of [begin, end) can be read without waiting, page by page.
ByteCount readable_run(int fd, std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t at = begin; at < end; at = (at / page_size() + 1) * page_size()) {
    if (would_wait(fd, at)) return ByteCount{at - begin};
  }
  return ByteCount{end - begin};
}

}  // namespace

ByteCount resident_prefix(int fd, ByteRange range, Look look) {
  constexpr std::uint64_t spacing = 64 * kib;
  constexpr std::uint64_t most_exact = 256 * kib;
  const Pages pages = pages_of(range);
  const std::uint64_t begin = range.offset.value;
  std::uint64_t end = range.end().value;
  bool all = look != Look::EveryPage;
  const std::optional<std::uint64_t> cached = cached_pages(fd, pages);
  if (cached && *cached < pages.count) {
    const std::uint64_t run = cached_run(fd, pages);
    if (run == 0) return {};
    end = std::min(end, (pages.first + run) * page_size());
    all = false;
  }
  if (look == Look::Present && cached) return ByteCount{end - begin};
  for (std::uint64_t at = begin; all && at < end; at = (at / spacing + 1) * spacing) {
    all = !would_wait(fd, at);
  }
  if (all && !would_wait(fd, end - 1)) return ByteCount{end - begin};
  return readable_run(fd, begin, std::min(end, begin + most_exact));
}

void begin_reading(int fd, ByteRange range) {
  // One call reads no more than the device's read-ahead size (128 KiB by default).
  constexpr std::uint64_t unit = 128 * kib;
  for (std::uint64_t at = range.offset.value; at < range.end().value; at += unit) {
    const std::uint64_t size = std::min(unit, range.end().value - at);
    // EINVAL: no file of a disk. What cannot be begun here is read by fetch_pages.
    if (::readahead(fd, static_cast<off64_t>(at), size) != 0) return;
  }
}

Result<ByteCount> fetch_pages(int fd, ByteRange range, std::span<char> scratch) {
  begin_reading(fd, range);
  ByteCount done;
  while (done < range.count) {
    const std::size_t size = std::min<std::size_t>(scratch.size(), (range.count - done).value);
    const Result<ByteCount> got = read_at(fd, range.offset + done, scratch.first(size));
    if (!got) return got;  // EIO: the disk
    done += *got;
    if (got->value < size) break;  // truncated meanwhile
  }
  return done;
}

}  // namespace pagewire::sys
