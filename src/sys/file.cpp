#include "sys/file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace pagewire::sys {

namespace {

FileStatus to_status(const struct stat& raw) {
  FileStatus status;
  status.type = S_ISREG(raw.st_mode)   ? FileType::Regular
                : S_ISDIR(raw.st_mode) ? FileType::Directory
                                       : FileType::Other;
  status.device = raw.st_dev;
  status.inode = raw.st_ino;
  status.size = ByteCount{static_cast<std::uint64_t>(raw.st_size)};
  status.mtime_ns = raw.st_mtim.tv_sec * 1'000'000'000LL + raw.st_mtim.tv_nsec;
  return status;
}

constexpr std::uint64_t open_flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
constexpr std::uint64_t path_flags = O_PATH | O_CLOEXEC;
constexpr std::uint64_t confined = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;

}  // namespace

Result<Fd> open_directory(const char* path) {
  const int fd = ::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return last_error("open");
  return Fd(fd);
}

namespace {

Result<Fd> walk(int root_fd, const char* relative_path, std::uint64_t flags) {
  open_how how{};
  how.flags = flags;
  how.resolve = confined;
  // EAGAIN: a rename or mount anywhere on the system raced with a ".." in a link, and the kernel
  // could not be sure that the walk stayed beneath (openat2(2)). It asks to be called again.
  constexpr int attempts = 8;
  for (int attempt = 0;; ++attempt) {
    const long fd = ::syscall(SYS_openat2, root_fd, relative_path, &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    const bool again = errno == EINTR || errno == EAGAIN;
    if (!again || attempt == attempts) return last_error("openat2");
  }
}

/// Without the disk; with the disk where the kernel does not know the difference.
Result<Fd> walk_cached(int root_fd, const char* relative_path, std::uint64_t flags) {
  open_how how{};
  how.flags = flags;
  how.resolve = confined | RESOLVE_CACHED;
  // EAGAIN: a name is not in memory; but also a mount or rename that came in between, anywhere on
  // the system (legitimize_path() in fs/namei.c). An attempt costs a microsecond, a helper's answer
  // may take seconds.
  constexpr int attempts = 3;
  for (int attempt = 1;; ++attempt) {
    const long fd = ::syscall(SYS_openat2, root_fd, relative_path, &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    if (errno == EINVAL && how.resolve != confined) {  // before Linux 5.12
      how.resolve = confined;
      continue;
    }
    if (errno != EAGAIN || attempt >= attempts) return last_error("openat2");
  }
}

}  // namespace

Result<Fd> open_beneath(int root_fd, const char* relative_path) {
  return walk(root_fd, relative_path, open_flags);
}

Result<Fd> open_beneath_cached(int root_fd, const char* relative_path) {
  return walk_cached(root_fd, relative_path, open_flags);
}

Result<FileStatus> status_beneath(int root_fd, const char* relative_path) {
  const Result<Fd> place = walk(root_fd, relative_path, path_flags);
  if (!place) return tl::unexpected(place.error());
  return status_of(place->get());
}

Result<FileStatus> status_beneath_cached(int root_fd, const char* relative_path) {
  const Result<Fd> place = walk_cached(root_fd, relative_path, path_flags);
  if (!place) return tl::unexpected(place.error());
  return status_of(place->get());
}

Result<FileStatus> status_of(int fd) {
  struct stat raw {};
  if (::fstat(fd, &raw) != 0) return last_error("fstat");
  return to_status(raw);
}

Result<ByteCount> read_at(int fd, FileOffset offset, std::span<char> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t n = ::pread(fd, into.data() + done, into.size() - done,
                              static_cast<off_t>(offset.value + done));
    if (n == 0) break;  // the end of the file, perhaps an earlier one than it was
    if (n < 0) {
      if (errno == EINTR) continue;  // a signal before the first byte
      return last_error("pread");    // EIO: the disk; EISDIR: not a file
    }
    done += static_cast<std::size_t>(n);
  }
  return ByteCount{done};
}

Result<CachedRead> read_cached_at(int fd, FileOffset offset, std::span<char> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const iovec rest{into.data() + done, into.size() - done};
    const ssize_t n = ::preadv2(fd, &rest, 1, static_cast<off_t>(offset.value + done), RWF_NOWAIT);
    if (n > 0) {
      done += static_cast<std::size_t>(n);
      continue;
    }
    if (n == 0) break;  // the end of the file
    switch (errno) {
      case EINTR:  // a signal before the first byte
        continue;
      case EAGAIN:  // not in memory, or being read just now
        return CachedRead{.count = ByteCount{done}, .would_wait = true};
      case EOPNOTSUPP:  // this filesystem cannot tell (FUSE, NFS)
      case ENOSYS: {    // hidden by a seccomp filter
        const FileOffset from = offset + ByteCount{done};
        const Result<ByteCount> read = read_at(fd, from, into.subspan(done));
        if (!read) return tl::unexpected(read.error());
        return CachedRead{.count = ByteCount{done} + *read};
      }
      default:
        return last_error("preadv2");  // EIO; EISDIR: not a file
    }
  }
  return CachedRead{.count = ByteCount{done}};
}

}  // namespace pagewire::sys
