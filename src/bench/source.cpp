// The file that is sent: made without a name, and dropped from the page cache.
//
// Invariant: whatever happens, the file is gone when its last descriptor is closed.
// Rests on: open(2) O_TMPFILE (not on every filesystem), fallocate(2), sync_file_range(2),
// fdatasync(2).
#include <endian.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "bench/engine.h"
#include "sys/page_cache.h"

namespace pagewire::bench {

namespace {

constexpr std::size_t chunk_bytes = 1 * mib;
/// Written back in stretches of this, so that no wait for the disk is long.
constexpr std::uint64_t write_back_bytes = 16 * mib;

Result<sys::Fd> open_nameless(const std::string& folder);
Result<void> reserve(int fd, ByteCount size);
Result<void> fill(int fd, ByteCount size, const StopAsked& stop_asked);
Result<void> write_back(int fd, std::uint64_t end);
Result<void> write_back_all(int fd);

}  // namespace

Result<sys::Fd> make_position_coded_file(const std::string& folder, ByteCount size,
                                         const StopAsked& stop_asked) {
  if (size.value == 0) return failure("make the file", EINVAL);
  Result<sys::Fd> fd = open_nameless(folder);
  if (!fd) return fd;
  Result<void> done = reserve(fd->get(), size);
  if (done) done = fill(fd->get(), size, stop_asked);
  if (done) done = write_back_all(fd->get());
  if (!done) return tl::unexpected(done.error());
  return fd;
}

namespace {

Result<sys::Fd> open_nameless(const std::string& folder) {
  const std::string where = folder.empty() ? "." : folder;
  sys::Fd fd(::open(where.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd.is_open()) return fd;
  // EOPNOTSUPP: a filesystem without O_TMPFILE; EISDIR: one that does not know the flag, and sees
  // a directory opened for writing (open(2)).
  if (errno != EOPNOTSUPP && errno != EISDIR) return last_error("open");
  std::string name = where + "/.pagewire-bench-XXXXXX";
  fd = sys::Fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd.is_open()) return last_error("mkostemp");  // EACCES, EROFS, ENOSPC
  if (::unlink(name.c_str()) != 0) return last_error("unlink");
  return fd;
}

/// Takes the room before anything is written, so that a full disk says so at once.
Result<void> reserve(int fd, ByteCount size) {
  rlimit limit{};
  ::getrlimit(RLIMIT_FSIZE, &limit);
  // Writing beyond it would not only fail but also raise SIGXFSZ.
  if (size.value > limit.rlim_cur || size.value > max_file_size_bytes) {
    return failure("fallocate", EFBIG);
  }
  if (::fallocate(fd, 0, 0, static_cast<off_t>(size.value)) == 0) return {};
  // EOPNOTSUPP, ENOSYS: not on this filesystem; EINTR: a signal. Writing takes the room as it goes.
  if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR) return {};
  return last_error("fallocate");  // ENOSPC, EDQUOT, EFBIG
}

/// Fills `words` with the code of the file from `offset` on, a multiple of 8.
void code_positions(std::uint64_t offset, std::span<std::uint64_t> words) {
  constexpr std::uint64_t mask = 0x005A'5A5A'5A5A'5A5AU;
  constexpr std::uint64_t mark = 0xA500'0000'0000'0000U;
  constexpr std::uint64_t low_56_bits = 0x00FF'FFFF'FFFF'FFFFU;
  for (std::uint64_t& word : words) {
    word = htole64(((offset & low_56_bits) ^ mask) | mark);
    offset += sizeof word;
  }
}

Result<void> fill(int fd, ByteCount size, const StopAsked& stop_asked) {
  std::vector<std::uint64_t> words(chunk_bytes / sizeof(std::uint64_t));
  const char* const bytes = reinterpret_cast<const char*>(words.data());
  for (std::uint64_t at = 0; at < size.value;) {
    if (stop_asked && stop_asked()) return failure("make the file", EINTR);
    code_positions(at, words);
    const std::size_t wanted = std::min<std::uint64_t>(chunk_bytes, size.value - at);
    for (std::size_t done = 0; done < wanted;) {
      const ssize_t n = ::pwrite(fd, bytes + done, wanted - done, static_cast<off_t>(at + done));
      if (n < 0 && errno != EINTR) return last_error("pwrite");  // ENOSPC, EDQUOT, EFBIG, EIO
      if (n == 0)
        return failure("pwrite", EIO);  // a filesystem that takes nothing and says why not
      if (n > 0) done += static_cast<std::size_t>(n);
    }
    at += wanted;
    if (at % write_back_bytes != 0) continue;
    if (Result<void> written = write_back(fd, at); !written) return written;
  }
  return {};
}

/// Begins to write the stretch that ends at `end`, and waits for the one before it: the disk has
/// work all the time, and a stop is heard after one stretch of it.
Result<void> write_back(int fd, std::uint64_t end) {
  const std::uint64_t begin = end - write_back_bytes;
  constexpr auto count = static_cast<off_t>(write_back_bytes);
  constexpr unsigned whole =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  int failed = ::sync_file_range(fd, static_cast<off_t>(begin), count, SYNC_FILE_RANGE_WRITE);
  if (failed == 0 && begin > 0) {
    failed = ::sync_file_range(fd, static_cast<off_t>(begin) - count, count, whole);
  }
  // EIO, ENOSPC. Others: not on this filesystem; fdatasync does it all at the end.
  if (failed != 0 && (errno == EIO || errno == ENOSPC)) return last_error("sync_file_range");
  return {};
}

/// So that nothing is written while rounds run, and pages can be dropped.
Result<void> write_back_all(int fd) {
  while (::fdatasync(fd) != 0) {
    // EINVAL, EROFS: a filesystem without a disk behind it. EINTR: a signal.
    if (errno == EINVAL || errno == EROFS) return {};
    if (errno != EINTR) return last_error("fdatasync");  // EIO, ENOSPC, EDQUOT
  }
  return {};
}

}  // namespace

Result<std::optional<std::uint64_t>> drop_pages(int file_fd) {
  if (Result<void> dropped = sys::drop_cached_pages(file_fd); !dropped) {
    return tl::unexpected(dropped.error());
  }
  const Result<std::optional<ByteCount>> resident = sys::resident_bytes(file_fd);
  if (!resident) return tl::unexpected(resident.error());
  if (!*resident) return std::nullopt;
  return (*resident)->value;
}

}  // namespace pagewire::bench
