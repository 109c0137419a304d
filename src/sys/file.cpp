#include "sys/file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

}  // namespace

Result<Fd> open_directory(const char* path) {
  const int fd = ::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return last_error("open");
  return Fd(fd);
}

Result<Fd> open_beneath(int root_fd, const char* relative_path) {
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
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

Result<FileStatus> status_of(int fd) {
  struct stat raw {};
  if (::fstat(fd, &raw) != 0) return last_error("fstat");
  return to_status(raw);
}

Result<FileStatus> status_at(int root_fd, const char* relative_path) {
  struct stat raw {};
  if (::fstatat(root_fd, relative_path, &raw, 0) != 0) return last_error("fstatat");
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

}  // namespace pagewire::sys
