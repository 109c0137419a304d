// Position-coded data: each 8 bytes of a file hold their own offset, little-endian. A byte from a
// wrong offset, a foreign file or a stale buffer cannot pass for the right one.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

namespace pagewire::bench {

static_assert(std::endian::native == std::endian::little, "words are compared as they lie");

inline char coded_byte(std::uint64_t offset) {
  return static_cast<char>((offset & ~std::uint64_t{7}) >> (8 * (offset & 7)));
}

inline void fill_position_coded(std::span<char> bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = coded_byte(i);
}

/// Whether `bytes` are what a position-coded file holds from `offset` on.
inline bool is_position_coded(std::span<const char> bytes, std::uint64_t offset) {
  std::size_t i = 0;
  for (; i < bytes.size() && (offset + i) % 8 != 0; ++i) {
    if (bytes[i] != coded_byte(offset + i)) return false;
  }
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, sizeof word);
    if (word != offset + i) return false;
  }
  for (; i < bytes.size(); ++i) {
    if (bytes[i] != coded_byte(offset + i)) return false;
  }
  return true;
}

}  // namespace pagewire::bench
