// Strong types for the two numbers that must never be swapped: where in a file, and how much.
//
// Both are unsigned 64-bit, but every value that comes from outside (a Range field, a file size)
// is at most 2^63 - 1, as off_t is; so offset + count of two valid values cannot wrap.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>

namespace pagewire {

struct ByteCount {
  std::uint64_t value = 0;

  friend constexpr auto operator<=>(ByteCount, ByteCount) = default;
  constexpr ByteCount& operator+=(ByteCount other) {
    value += other.value;
    return *this;
  }
  constexpr ByteCount& operator-=(ByteCount other) {
    value -= other.value;
    return *this;
  }
};

constexpr ByteCount operator+(ByteCount a, ByteCount b) {
  return {a.value + b.value};
}
constexpr ByteCount operator-(ByteCount a, ByteCount b) {
  return {a.value - b.value};
}

struct FileOffset {
  std::uint64_t value = 0;

  friend constexpr auto operator<=>(FileOffset, FileOffset) = default;
};

constexpr FileOffset operator+(FileOffset offset, ByteCount count) {
  return {offset.value + count.value};
}

/// Bytes [offset, offset + count) of a file.
struct ByteRange {
  FileOffset offset;
  ByteCount count;

  constexpr FileOffset end() const { return offset + count; }
  friend constexpr bool operator==(ByteRange, ByteRange) = default;
};

/// The largest size, offset or range bound that is accepted from anywhere: off_t's maximum.
inline constexpr std::uint64_t max_file_size_bytes = 0x7fff'ffff'ffff'ffffU;

inline constexpr std::uint64_t kib = 1024;
inline constexpr std::uint64_t mib = 1024 * kib;
inline constexpr std::uint64_t gib = 1024 * mib;

}  // namespace pagewire
