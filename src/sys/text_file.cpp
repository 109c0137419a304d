#include "sys/text_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "sys/fd.h"

namespace pagewire::sys {

namespace {

Result<Fd> open_for_reading(const char* path) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return last_error("open");
  return Fd(fd);
}

// Fewer bytes than `into` has room for: the file ended.
Result<std::size_t> fill(int fd, std::span<char> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t n = ::read(fd, into.data() + done, into.size() - done);
    if (n == 0) break;
    if (n < 0) {
      if (errno == EINTR) continue;  // a signal before the first byte
      return last_error("read");     // ESRCH: the process has ended; EACCES, EPERM: not for us
    }
    done += static_cast<std::size_t>(n);
  }
  return done;
}

}  // namespace

Result<std::string_view> read_text(const char* path, std::span<char> into) {
  const Result<Fd> file = open_for_reading(path);
  if (!file) return tl::unexpected(file.error());
  const Result<std::size_t> size = fill(file->get(), into);
  if (!size) return tl::unexpected(size.error());
  return std::string_view(into.data(), *size);
}

Result<std::string> read_text(const std::string& path, std::size_t limit_bytes) {
  const Result<Fd> file = open_for_reading(path.c_str());
  if (!file) return tl::unexpected(file.error());
  std::string text(std::min<std::size_t>(limit_bytes, 16 * 1024), '\0');
  std::size_t done = 0;
  for (;;) {
    const Result<std::size_t> size = fill(file->get(), std::span(text).subspan(done));
    if (!size) return tl::unexpected(size.error());
    done += *size;
    if (done < text.size()) break;
    if (done == limit_bytes) return failure("read", EFBIG);
    text.resize(std::min(limit_bytes, text.size() * 2));
  }
  text.resize(done);
  return text;
}

std::string first_line_of(const std::string& path) {
  const Result<std::string> text = read_text(path);
  if (!text) return {};
  return text->substr(0, text->find('\n'));
}

}  // namespace pagewire::sys
