#include "log/log_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace pagewire::log {

namespace {

constexpr int writable_wait_ms = 1'000;

Result<sys::Fd> open_path(const std::string& path) {
  if (path == "-") {
    // A pipe or terminal is opened anew, so that it can be non-blocking for the log alone: a reader
    // that has stopped must not stop the writer for good.
    struct stat status {};
    const bool can_block = ::fstat(STDOUT_FILENO, &status) == 0 &&
                           (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode));
    if (can_block) {
      sys::Fd anew(::open("/proc/self/fd/1", O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
      if (anew.is_open()) return anew;  // else EACCES, ENXIO: not ours to open; ENOENT: no /proc
    }
    // A duplicate, so that ours can be closed without closing the process's standard output.
    sys::Fd standard_output(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
    if (!standard_output.is_open()) return last_error("fcntl");
    return standard_output;
  }
  // O_NONBLOCK: a FIFO without a reader is refused at once (ENXIO), and one whose reader has
  // stopped cannot stop the writer for good. Regular files do not care.
  sys::Fd file(::open(path.c_str(),
                      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644));
  if (!file.is_open()) return last_error("open");
  return file;
}

/// Not fmt::print: that throws when standard error cannot be written either.
void complain(const std::string& path, const Error& error, std::string_view consequence) {
  const std::string text =
      fmt::format("pagewire: access log {}: {}; {}\n", path, describe(error), consequence);
  (void)std::fputs(text.c_str(), stderr);
}

}  // namespace

Result<LogFile> LogFile::open(const std::string& path) {
  Result<sys::Fd> fd = open_path(path);
  if (!fd) return tl::unexpected(fd.error());
  return LogFile(path, std::move(*fd));
}

std::uint64_t LogFile::append(std::string_view lines) {
  std::size_t written = 0;
  if (finish_torn_line()) {
    written = write_all(lines);
    const std::size_t line_end = written == 0 ? 0 : lines.rfind('\n', written - 1) + 1;
    if (line_end != written) {
      // The disk filled up in mid-line: the rest of that line must be the next thing written.
      const std::size_t next_line = lines.find('\n', written) + 1;
      unfinished_ = lines.substr(written, next_line - written);
      written = next_line;
    }
  }
  const std::string_view lost = lines.substr(written);
  return static_cast<std::uint64_t>(std::count(lost.begin(), lost.end(), '\n'));
}

std::uint64_t LogFile::reopen() {
  if (path_ == "-") return 0;
  Result<sys::Fd> fresh = open_path(path_);
  if (!fresh) {
    complain(path_, fresh.error(), "the old file stays in use");
    return 0;
  }
  const bool torn = !finish_torn_line();
  unfinished_.clear();  // it belongs to the old file
  fd_ = std::move(*fresh);
  return torn ? 1 : 0;
}

bool LogFile::finish_torn_line() {
  if (unfinished_.empty()) return true;
  unfinished_.erase(0, write_all(unfinished_));
  return unfinished_.empty();
}

std::size_t LogFile::write_all(std::string_view bytes) {
  std::size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t count = ::write(fd_.get(), bytes.data() + written, bytes.size() - written);
    if (count > 0) {
      written += static_cast<std::size_t>(count);
      continue;
    }
    if (count < 0 && errno == EINTR) continue;  // a signal before the first byte
    // A pipe or terminal that is not being read (a FIFO, or a standard output made non-blocking).
    if (count < 0 && errno == EAGAIN && wait_writable()) continue;
    // ENOSPC, EDQUOT: the disk is full; EFBIG: the file size limit; EIO: the disk is broken; EPIPE:
    // the reader of the pipe has gone. Each may pass, so the next batch tries again.
    report(count < 0 ? errno : EIO);
    return written;
  }
  failing_ = false;
  return written;
}

bool LogFile::wait_writable() const {
  pollfd waiting{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
  // Once is enough: while it fails, the lines that follow are not waited for.
  const bool writable = ::poll(&waiting, 1, failing_ ? 0 : writable_wait_ms) > 0;
  if (!writable) errno = EAGAIN;
  return writable;
}

void LogFile::report(int errno_value) {
  if (failing_) return;
  failing_ = true;
  complain(path_, Error{"write", errno_value}, "lines are dropped until it can be written");
}

}  // namespace pagewire::log
