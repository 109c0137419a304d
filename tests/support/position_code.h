// Position-coded test data: every 8 bytes, at a multiple of 8, hold their own file offset (the low
// 56 bits, little-endian, each byte XORed with 0x5A) and a mark in the last byte. A stretch from
// a wrong offset, of another generation of the file, or of zeros where data should be cannot pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace pagewire::test {

/// Which writing of the file the data is from; an overwritten file has another one.
using Generation = unsigned char;

inline char position_byte(std::uint64_t offset, Generation generation = 0) {
  const std::uint64_t in_word = offset % 8;
  if (in_word == 7) return static_cast<char>(0xA5U + generation);
  const std::uint64_t word = offset - in_word;
  return static_cast<char>((word >> (8 * in_word)) ^ 0x5AU ^ generation);
}

/// Fills `into` with what belongs at file offset `offset` and on.
inline void fill_positions(std::uint64_t offset, std::span<char> into, Generation generation = 0) {
  for (std::size_t i = 0; i < into.size(); ++i) into[i] = position_byte(offset + i, generation);
}

/// The index of the first byte that does not belong at `offset` and on; bytes.size() if all do.
inline std::size_t first_wrong(std::uint64_t offset, std::span<const char> bytes,
                               Generation generation = 0) {
  std::size_t i = 0;
  while (i < bytes.size() && bytes[i] == position_byte(offset + i, generation)) ++i;
  return i;
}

inline std::string positions(std::uint64_t offset, std::size_t size, Generation generation = 0) {
  std::string bytes(size, '\0');
  fill_positions(offset, bytes, generation);
  return bytes;
}

}  // namespace pagewire::test
