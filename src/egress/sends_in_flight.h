// The sends of one socket that the kernel has not completed yet, by their number.
//
// Pure, of fixed size. Rests on Documentation/networking/msg_zerocopy.rst: every successful send
// with MSG_ZEROCOPY has the next number of a 32-bit counter of the socket's, from 0; completions
// name ranges of numbers, of any length, and may come out of order.
#pragma once

#include <array>
#include <cstdint>

#include "base/check.h"
#include "base/units.h"
#include "sys/zero_copy.h"

namespace pagewire::egress {

class SendsInFlight {
 public:
  /// More sends than this are not in flight on a socket; the caller copies instead. At some 128 KiB
  /// a send this is 16 MiB, more than the send buffer of most connections may hold.
  static constexpr std::uint32_t capacity = 128;

  struct Send {
    ByteCount bytes;
    std::uint8_t window = 0;  ///< the caller's mark of the memory that is held for it
    bool completed = false;
  };

  struct Completed {
    std::uint32_t sends = 0;
    ByteCount bytes;
  };

  /// `first`: the number that the next send gets; of a new socket 0.
  explicit SendsInFlight(std::uint32_t first = 0) : oldest_(first), next_(first) {}

  bool empty() const { return oldest_ == next_; }
  bool full() const { return next_ - oldest_ == capacity; }

  /// A send that took something. Must not be full.
  void add(ByteCount bytes, std::uint8_t window) {
    PW_CHECK(!full());
    at(next_++) = {.bytes = bytes, .window = window, .completed = false};
  }

  /// Calls `release(const Send&)` once for each send that completes by this. Numbers that are not
  /// in flight (there should be none) are passed over.
  template <class Release>
  Completed complete(const sys::ZeroCopyCompletion& range, Release release) {
    Completed done;
    for (std::uint32_t number = oldest_; number != next_; ++number) {
      // Unsigned differences, so that a range across the counter's wrap is one like any other.
      if (number - range.first > range.last - range.first) continue;
      Send& send = at(number);
      if (send.completed) continue;
      send.completed = true;
      ++done.sends;
      done.bytes += send.bytes;
      release(static_cast<const Send&>(send));
    }
    while (oldest_ != next_ && at(oldest_).completed) ++oldest_;
    return done;
  }

  /// What is still in flight.
  Completed left() const {
    Completed left;
    for (std::uint32_t number = oldest_; number != next_; ++number) {
      const Send& send = sends_[number % capacity];
      if (send.completed) continue;
      ++left.sends;
      left.bytes += send.bytes;
    }
    return left;
  }

 private:
  static_assert((capacity & (capacity - 1)) == 0, "the ring's index must survive the wrap");
  Send& at(std::uint32_t number) { return sends_[number % capacity]; }

  std::array<Send, capacity> sends_{};
  std::uint32_t oldest_;
  std::uint32_t next_;
};

}  // namespace pagewire::egress
