// multipart/byteranges (RFC 9110 14.6, RFC 2046 5.1).
//
// Invariant: length() is the exact sum of what add_segments() adds: both come from the same text
// and the same ranges. The text is complete before the first segment points into it.
#include "content/multipart.h"

#include <fmt/format.h>

#include <iterator>

#include "base/check.h"

namespace pagewire::content {

Multipart::Multipart(const OpenFile& file, const http::RangeSelection& ranges,
                     std::string_view boundary, std::string& text)
    : file_(file), ranges_(ranges), text_(text) {
  PW_CHECK(text.empty() && ranges.count <= ranges.parts.size());
  for (std::size_t part = 0; part < ranges.count; ++part) {
    const ByteRange range = ranges.parts[part];
    // The line break before a delimiter belongs to it; there is none before the first.
    fmt::format_to(std::back_inserter(text),
                   "{}--{}\r\nContent-Type: {}\r\nContent-Range: bytes {}-{}/{}\r\n\r\n",
                   part == 0 ? "" : "\r\n", boundary, file.head().content_type, range.offset.value,
                   range.end().value - 1, file.status().size.value);
    head_ends_[part] = text.size();
    length_ += range.count;
  }
  fmt::format_to(std::back_inserter(text), "\r\n--{}--\r\n", boundary);
  length_ += ByteCount{text.size()};
}

void Multipart::add_segments(Response& response) const {
  const std::string_view text = text_;
  std::size_t at = 0;
  for (std::size_t part = 0; part < ranges_.count; ++part) {
    response.add(Segment::of_memory(text.substr(at, head_ends_[part] - at)));
    response.add(segment_of(file_, ranges_.parts[part]));
    at = head_ends_[part];
  }
  response.add(Segment::of_memory(text.substr(at)));
}

Segment segment_of(const OpenFile& file, ByteRange slice) {
  if (file.body().empty()) return Segment::of_file(file, slice);
  return Segment::of_memory(file.body().substr(slice.offset.value, slice.count.value));
}

BoundaryMaker::Boundary BoundaryMaker::next() {
  Boundary boundary;
  fmt::format_to(boundary.data(), "{:016x}{:016x}", random(), random());
  return boundary;
}

// SplitMix64: a full period and well mixed; the seed is what cannot be foreseen.
std::uint64_t BoundaryMaker::random() {
  state_ += 0x9e37'79b9'7f4a'7c15U;
  std::uint64_t mixed = state_;
  mixed = (mixed ^ (mixed >> 30U)) * 0xbf58'476d'1ce4'e5b9U;
  mixed = (mixed ^ (mixed >> 27U)) * 0x94d0'49bb'1331'11ebU;
  return mixed ^ (mixed >> 31U);
}

}  // namespace pagewire::content
