// Latency histogram with a relative error under 1%: 128 equal buckets in each power of two.
//
// Fixed size, so recording never allocates and costs the client a few nanoseconds.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace pagewire::bench {

class Histogram {
 public:
  void record(std::uint64_t value) {
    ++buckets_[index_of(value)];
    ++count_;
  }

  std::uint64_t count() const { return count_; }

  /// The value that `fraction` (0 to 1) of the recorded ones do not exceed; needs count() > 0.
  std::uint64_t percentile(double fraction) const {
    const auto wanted = static_cast<std::uint64_t>(fraction * static_cast<double>(count_ - 1)) + 1;
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen >= wanted) return middle_of(i);
    }
    return middle_of(buckets_.size() - 1);
  }

 private:
  static constexpr unsigned bits = 7;
  static constexpr std::uint64_t per_octave = 1U << bits;

  // Values below 2^bits have a bucket each; above, the top bits + 1 bits of a value choose its
  // bucket.
  static std::size_t index_of(std::uint64_t value) {
    if (value < per_octave) return value;
    const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - bits - 1;
    return shift * per_octave + (value >> shift);
  }

  static std::uint64_t middle_of(std::size_t index) {
    if (index < 2 * per_octave) return index;
    const std::size_t shift = index / per_octave - 1;
    return ((index - shift * per_octave) << shift) + (std::uint64_t{1} << shift) / 2;
  }

  std::array<std::uint64_t, (64 - bits + 1) * per_octave> buckets_{};
  std::uint64_t count_ = 0;
};

}  // namespace pagewire::bench
