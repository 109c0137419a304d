// A report's way to the disk: all of it, or the old file as it was.
//
// The text goes to a new file beside the target and takes its name by rename(2), which replaces
// atomically. Signals that end the process wait meanwhile, so that Ctrl-C leaves no half of a file.
// No fsync: a report that a power cut takes can be made again. What is no regular file
// (/dev/stdout, a FIFO) cannot be replaced and is written as it is; it may take for ever, so
// nothing waits there.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "bench/render.h"
#include "sys/fd.h"

namespace pagewire::bench {

namespace {

Result<void> write_whole(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0) {
      if (errno == EINTR) continue;  // a signal (Ctrl-C) before anything was written
      // ENOSPC, EDQUOT, EIO; EFBIG past RLIMIT_FSIZE or the filesystem's limit (with SIGXFSZ
      // ignored); EPIPE into a FIFO without a reader.
      return last_error("write");
    }
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

/// close(2), asked: NFS and quotas report a full disk only here (ENOSPC, EDQUOT, EIO).
Result<void> close_asking(sys::Fd file) {
  if (::close(file.release()) != 0 && errno != EINTR) return last_error("close");
  return {};
}

Result<void> write_in_place(const std::string& path, std::string_view text) {
  sys::Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.is_open()) return last_error("open");  // EACCES, ENXIO (a socket)
  return write_whole(file.get(), text);
}

bool is_replaceable(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode) || S_ISDIR(status.st_mode);
}

/// Holds SIGINT, SIGTERM and SIGHUP back as long as it lives.
class SignalsWait {
 public:
  SignalsWait() {
    sigset_t ending;
    ::sigemptyset(&ending);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&ending, signal);
    ::pthread_sigmask(SIG_BLOCK, &ending, &before_);
  }
  SignalsWait(const SignalsWait&) = delete;
  ~SignalsWait() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

/// A new file beside `path`. The number of the process keeps two benches apart; one that was killed
/// may have left the name behind, hence the count.
Result<sys::Fd> open_beside(const std::string& path, std::string& name) {
  constexpr int attempts = 100;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    name = path + ".part-" + std::to_string(::getpid()) + "-" + std::to_string(attempt);
    sys::Fd file(::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (file.is_open()) return file;
    // ENOENT, EACCES, EROFS: the folder; EMFILE; ENAMETOOLONG.
    if (errno != EEXIST) return last_error("open");
  }
  return failure("open", EEXIST);
}

/// What the name leads to, so that a symbolic link stays one.
std::string target_of(const std::string& path) {
  char* const resolved = ::realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return path;  // ENOENT: a new file
  std::string target = resolved;
  std::free(resolved);
  return target;
}

}  // namespace

Result<void> write_file(const std::string& path, std::string_view text) {
  if (!is_replaceable(path)) return write_in_place(path, text);
  const std::string target = target_of(path);
  const SignalsWait signals_wait;
  std::string beside;
  Result<sys::Fd> file = open_beside(target, beside);
  if (!file) return tl::unexpected(file.error());
  Result<void> done = write_whole(file->get(), text);
  if (done) done = close_asking(std::move(*file));
  // EISDIR: the target is a folder; EACCES and EPERM in a sticky folder.
  if (done && ::rename(beside.c_str(), target.c_str()) != 0) done = last_error("rename");
  if (!done) (void)::unlink(beside.c_str());
  return done;
}

}  // namespace pagewire::bench
