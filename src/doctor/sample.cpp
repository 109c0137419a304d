// O_TMPFILE (open(2), 3.11) makes a file that nobody ever sees. Filesystems without it (FUSE, some
// network ones) get a name for a moment, which is gone before the first byte is written.
#include "doctor/sample.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

namespace pagewire::doctor {

namespace {

sys::Fd new_file(const std::string& root) {
  sys::Fd file(::open(root.c_str(), O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  // EOPNOTSUPP, EISDIR, ENOENT: this filesystem has no such files.
  if (file.is_open() || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)) return file;
  std::string name = root + "/.pagewire-doctor-XXXXXX";
  file = sys::Fd(::mkostemp(name.data(), O_CLOEXEC));
  if (file.is_open()) (void)::unlink(name.c_str());
  return file;
}

}  // namespace

tl::expected<sys::Fd, std::string> make_sample(const std::string& root) {
  sys::Fd file = new_file(root);
  // EACCES, EROFS, EPERM: ROOT is not ours to write.
  if (!file.is_open()) {
    return tl::unexpected("no temporary file can be made in ROOT: " + errno_text(errno));
  }
  std::vector<std::uint64_t> piece(256 * kib / 8);
  for (std::size_t at = 0; at < sample_bytes; at += 256 * kib) {
    for (std::size_t i = 0; i < piece.size(); ++i) piece[i] = at + i * 8;
    const ssize_t n = ::pwrite(file.get(), piece.data(), 256 * kib, static_cast<off_t>(at));
    // ENOSPC, EDQUOT; short: the filesystem is nearly full.
    if (n != static_cast<ssize_t>(256 * kib)) {
      return tl::unexpected("a temporary file of 4 MiB in ROOT cannot be written: " +
                            (n < 0 ? errno_text(errno) : "no space"));
    }
  }
  return file;
}

}  // namespace pagewire::doctor
