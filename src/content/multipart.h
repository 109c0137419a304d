// multipart/byteranges bodies: part heads in memory between slices of a file; private.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "content/content.h"

namespace pagewire::content {

/// Makes delimiters that the author of a file cannot foresee, so that no file can hold one on
/// purpose.
class BoundaryMaker {
 public:
  static constexpr std::size_t size = 32;
  using Boundary = std::array<char, size>;

  explicit BoundaryMaker(std::uint64_t seed) : state_(seed) {}
  Boundary next();

 private:
  std::uint64_t random();
  std::uint64_t state_;
};

/// A slice of the file as a segment: from memory when the body is kept there. slice.count > 0.
Segment segment_of(const OpenFile& file, ByteRange slice);

/// Writes the part heads to `text` (which stays empty until then) and returns the length of the
/// whole body. Call add_multipart_segments() after the head segment was added.
class Multipart {
 public:
  Multipart(const OpenFile& file, const http::RangeSelection& ranges, std::string_view boundary,
            std::string& text);
  ByteCount length() const { return length_; }
  void add_segments(Response& response) const;

 private:
  const OpenFile& file_;
  const http::RangeSelection& ranges_;
  const std::string& text_;
  std::array<std::size_t, http::RangeSelection::max_parts> head_ends_{};  // offsets in text_
  ByteCount length_;
};

}  // namespace pagewire::content
