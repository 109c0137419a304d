// The sizes of a Ring and a BufferRing (ring.h), for who only passes them on.
#pragma once

#include <cstddef>

namespace pagewire::sys {

struct RingSettings {
  unsigned entries = 1'024;      ///< submissions of one batch; rounded up to a power of two
  unsigned completions = 4'096;  ///< likewise; more of them at once cost an overflow
};

struct BufferSettings {
  unsigned count = 512;  ///< a power of two, at most 32768
  std::size_t size_bytes = 4'096;
};

}  // namespace pagewire::sys
