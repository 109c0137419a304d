#include "egress/selftest_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <optional>

#include "sys/fd.h"
#include "sys/file.h"

namespace pagewire::egress {

namespace {

// Some pages, more than the 16 that the kernel moves at a time, and a bit of one.
constexpr std::size_t sample_bytes = 37 * 4096 + 1235;
// What is looked at in a ROOT that cannot be written; a folder may hold millions.
constexpr std::size_t entries_looked_at = 256;

/// Every 8 bytes hold their own offset, so that a stretch from a wrong place shows.
std::string position_coded(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t word = i - i % 8;
    bytes[i] = static_cast<char>(i % 8 == 7 ? 0xA5U : (word >> (8 * (i % 8))) ^ 0x5AU);
  }
  return bytes;
}

std::optional<SampleFile> sample_of(sys::Fd fd, std::size_t size) {
  const Result<sys::FileStatus> status = sys::status_of(fd.get());
  if (!status || status->type != sys::FileType::Regular) return std::nullopt;
  SampleFile sample;
  sample.bytes.resize(std::min<std::uint64_t>(status->size.value, size));
  const Result<ByteCount> read = sys::read_at(fd.get(), FileOffset{0}, sample.bytes);
  if (!read || read->value != sample.bytes.size() || sample.bytes.empty()) return std::nullopt;
  sample.file = content::FileRef(new content::OpenFile(std::move(fd), *status));
  return sample;
}

std::optional<SampleFile> new_sample(const std::string& root) {
  // Many reasons not to be had, and the other way for all: EACCES, EROFS (ROOT is not ours to
  // write), EOPNOTSUPP, EISDIR (the filesystem or kernel has no such files), EMFILE.
  sys::Fd fd(::open(root.c_str(), O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (!fd.is_open()) return std::nullopt;
  const std::string bytes = position_coded(sample_bytes);
  // Short, or ENOSPC, EDQUOT: the filesystem is full.
  if (::pwrite(fd.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return std::nullopt;
  }
  return sample_of(std::move(fd), bytes.size());
}

}  // namespace

tl::expected<SampleFile, std::string> sample_file(const std::string& root) {
  if (std::optional<SampleFile> sample = new_sample(root)) return std::move(*sample);
  return existing_sample(root);
}

tl::expected<SampleFile, std::string> existing_sample(const std::string& root) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(root.c_str()), ::closedir);
  if (folder == nullptr) return tl::unexpected(describe(Error{"opendir", errno}));
  SampleFile best;
  for (std::size_t i = 0; i < entries_looked_at && best.bytes.size() < sample_bytes; ++i) {
    const dirent* const entry = ::readdir(folder.get());
    if (entry == nullptr) break;
    if (entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN) continue;
    // O_NOFOLLOW: a link may lead to another filesystem; O_NONBLOCK: a FIFO must not stop us.
    sys::Fd fd(::openat(::dirfd(folder.get()), entry->d_name,
                        O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    if (!fd.is_open()) continue;
    std::optional<SampleFile> found = sample_of(std::move(fd), sample_bytes);
    if (found && found->bytes.size() > best.bytes.size()) best = std::move(*found);
  }
  if (best.bytes.empty()) {
    return tl::unexpected(
        std::string("ROOT cannot be written, and no readable file with bytes in it is there"));
  }
  return best;
}

}  // namespace pagewire::egress
