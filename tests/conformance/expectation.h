// What a peer of the conformance suite holds what it receives against.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "content/content.h"
#include "support/position_code.h"
#include "test_files.h"

namespace pagewire::test {

/// Compares a stream with what the segments promise, as it comes. Data of a file is position-coded;
/// where a sparse file has no island it is zeros.
class Expectation {
 public:
  explicit Expectation(std::span<const Segment> segments) : segments_(segments) {
    for (const Segment& segment : segments) total_ += segment.size().value;
  }
  /// Only these parts of files hold data, the rest are holes.
  void set_islands(std::vector<ByteRange> islands) { islands_ = std::move(islands); }

  std::uint64_t total() const { return total_; }
  std::uint64_t received() const { return received_; }
  bool complete() const { return received_ == total_; }
  /// Where in the stream the first wrong or surplus byte was; npos if none.
  static constexpr std::uint64_t npos = ~std::uint64_t{0};
  std::uint64_t wrong_at() const { return wrong_at_; }

  void consume(std::string_view bytes) {
    while (!bytes.empty()) {
      while (index_ < segments_.size() && segments_[index_].size().value == in_segment_) {
        ++index_;
        in_segment_ = 0;
      }
      if (index_ == segments_.size()) return note_wrong(0, bytes.size());
      const Segment& segment = segments_[index_];
      const std::size_t size =
          std::min<std::size_t>(bytes.size(), segment.size().value - in_segment_);
      const std::size_t right = compare(segment, bytes.substr(0, size));
      if (right < size) note_wrong(right, 0);
      in_segment_ += size;
      received_ += size;
      bytes.remove_prefix(size);
    }
  }

 private:
  void note_wrong(std::size_t at, std::size_t surplus) {
    wrong_at_ = std::min(wrong_at_, received_ + at);
    received_ += surplus;
  }
  std::size_t compare(const Segment& segment, std::string_view bytes) const {
    if (segment.kind == Segment::Kind::Memory) {
      const std::string_view promised = segment.memory.substr(in_segment_, bytes.size());
      return static_cast<std::size_t>(
          std::mismatch(bytes.begin(), bytes.end(), promised.begin()).first - bytes.begin());
    }
    const std::uint64_t offset = segment.slice.offset.value + in_segment_;
    return islands_.empty() ? first_wrong(offset, bytes) : compare_sparse(offset, bytes);
  }
  std::size_t compare_sparse(std::uint64_t offset, std::string_view bytes) const {
    static const std::string zeros(1 << 20, '\0');
    bool near_data = bytes.size() > zeros.size();
    for (const ByteRange& island : islands_) {
      near_data |= offset < island.end().value && island.offset.value < offset + bytes.size();
    }
    if (!near_data && std::memcmp(bytes.data(), zeros.data(), bytes.size()) == 0) {
      return bytes.size();
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bool data = false;
      for (const ByteRange& island : islands_) {
        data |= island.offset.value <= offset + i && offset + i < island.end().value;
      }
      if (bytes[i] != (data ? position_byte(offset + i) : '\0')) return i;
    }
    return bytes.size();
  }

  std::span<const Segment> segments_;
  std::vector<ByteRange> islands_;
  std::size_t index_ = 0;
  std::uint64_t in_segment_ = 0;
  std::uint64_t total_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t wrong_at_ = npos;
};

}  // namespace pagewire::test
