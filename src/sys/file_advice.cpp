#include "sys/file_advice.h"

#include <fcntl.h>

#include <algorithm>

namespace pagewire::sys {

Result<void> advise_sequential(int fd) {
  const int error = ::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  if (error != 0) return failure("posix_fadvise", error);  // ESPIPE: a FIFO
  return {};
}

Result<void> read_ahead(int fd, ByteRange range) {
  // One call reads no more than the device's window or its largest request, whatever it was asked
  // for (force_page_cache_ra in mm/readahead.c). The smallest window in use is the default one.
  constexpr std::uint64_t piece = 128 * kib;
  for (std::uint64_t at = range.offset.value; at < range.end().value; at += piece) {
    const std::uint64_t size = std::min(piece, range.end().value - at);
    const int error =
        ::posix_fadvise(fd, static_cast<off_t>(at), static_cast<off_t>(size), POSIX_FADV_WILLNEED);
    if (error != 0) return failure("posix_fadvise", error);  // ESPIPE: a FIFO
  }
  return {};
}

}  // namespace pagewire::sys
