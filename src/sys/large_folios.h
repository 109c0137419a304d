// How large the folios are in which the page cache holds a file.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/units.h"

namespace pagewire::sys {

struct Folios {
  std::uint64_t pages = 0;   ///< that are in memory, of those looked at
  std::uint64_t folios = 0;  ///< that they are in
};

/// Of the first `size` bytes of the file, by /proc/self/pagemap and /proc/kpageflags (Linux 2.6.25;
/// Documentation/admin-guide/mm/pagemap.rst). Errors: EPERM (needs CAP_SYS_ADMIN), ENOENT (no
/// CONFIG_PROC_PAGE_MONITOR), those of mmap(2).
Result<Folios> folios_of(int fd, ByteCount size);

}  // namespace pagewire::sys
