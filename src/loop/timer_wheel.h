// TimerWheel: which streams to look at when.
//
// A wheel of 100 ms slots. A stream sits in the slot where it is looked at next, which may be
// earlier than its deadline: it is then put further on. So a deadline that moves away (every
// request does that) costs a store, and only one that comes nearer moves the stream. Nothing
// allocates.
#pragma once

#include <array>

#include "loop/loop.h"

namespace pagewire::loop {

class TimerWheel {
 public:
  static constexpr std::int64_t tick_ms = 100;

  explicit TimerWheel(std::int64_t now_ms) : last_tick_(now_ms / tick_ms) {}

  void set(Stream& stream, std::int64_t deadline_ms) {
    stream.deadline_ms_ = deadline_ms;
    TimerNode& node = stream;
    if (deadline_ms == 0 || (node.linked() && stream.slot_ms_ <= deadline_ms)) return;
    place(stream);
  }

  void forget(Stream& stream) {
    TimerNode& node = stream;
    node.unlink();
  }

  /// Calls expired(stream) for each deadline that has passed; it may set or forget any stream's.
  template <class Expired>
  void advance(std::int64_t now_ms, Expired expired) {
    const std::int64_t tick = now_ms / tick_ms;
    // After a long stop (SIGSTOP, a suspended machine) one turn of the wheel visits every stream.
    if (tick - last_tick_ > slots) last_tick_ = tick - slots;
    while (last_tick_ < tick) {
      ++last_tick_;
      visit_slot(now_ms, expired);
    }
  }

 private:
  static constexpr std::int64_t slots = 1024;

  void place(Stream& stream) {
    TimerNode& node = stream;
    node.unlink();
    const std::int64_t wanted = (stream.deadline_ms_ + tick_ms - 1) / tick_ms;
    const std::int64_t tick = std::clamp(wanted, last_tick_ + 1, last_tick_ + slots - 1);
    stream.slot_ms_ = tick * tick_ms;
    wheel_[static_cast<std::size_t>(tick % slots)].push_back(stream);
  }

  template <class Expired>
  void visit_slot(std::int64_t now_ms, Expired& expired) {
    auto& slot = wheel_[static_cast<std::size_t>(last_tick_ % slots)];
    while (Stream* const stream = slot.pop_front()) {
      if (stream->deadline_ms_ == 0) continue;
      if (stream->deadline_ms_ > now_ms) {
        place(*stream);  // never into this slot: it is at least one tick ahead
        continue;
      }
      stream->deadline_ms_ = 0;
      expired(*stream);
    }
  }

  std::int64_t last_tick_;
  std::array<IntrusiveList<Stream, TimerNode>, slots> wheel_;
};

}  // namespace pagewire::loop
