// The size of a page of memory, which is one place of a pipe (pipe(7)).
#pragma once

#include <unistd.h>

#include <cstddef>

namespace pagewire::sys {

inline std::size_t page_size() {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

}  // namespace pagewire::sys
