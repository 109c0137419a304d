// RecordRing: a bounded queue of access records, one producer (a worker), one consumer (the
// writer).
//
// Records are filled in place, so a line costs no copy and no allocation. The memory is touched
// slot by slot as lines come: a quiet worker's ring stays mostly unmapped. Invariant: tail <= head
// <= tail + capacity; slots [tail, head) are the consumer's, the rest the producer's.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>

#include "log/log.h"

namespace pagewire::log {

class RecordRing {
 public:
  explicit RecordRing(std::size_t lines)
      : capacity_(std::bit_ceil(lines < 2 ? std::size_t{2} : lines)),
        slots_(static_cast<AccessRecord*>(::operator new(capacity_ * sizeof(AccessRecord)))) {}

  /// Producer: a fresh record, or nullptr when the ring is full.
  AccessRecord* begin() {
    const std::uint64_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_seen_ == capacity_) {
      tail_seen_ = tail_.load(std::memory_order_acquire);
      if (head - tail_seen_ == capacity_) return nullptr;
    }
    return new (slot(head)) AccessRecord;
  }

  /// Producer: hands the record of the last begin() over. Sequentially consistent, because the
  /// producer then looks whether the consumer sleeps while the consumer, having said that it will,
  /// looks at the ring: one of them must see the other.
  void commit() {
    head_.store(head_.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
  }

  /// Producer: whether at least half of the ring waits. Asks the consumer's line only when the last
  /// known answer says yes.
  bool half_full() {
    const std::uint64_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_seen_ < capacity_ / 2) return false;
    tail_seen_ = tail_.load(std::memory_order_acquire);
    return head - tail_seen_ >= capacity_ / 2;
  }

  std::size_t capacity() const { return capacity_; }

  /// Consumer: the oldest record, or nullptr. It stays valid until pop().
  const AccessRecord* front() const {
    const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
    if (head_.load(std::memory_order_seq_cst) == tail) return nullptr;
    return std::launder(slot(tail));
  }
  void pop() { tail_.store(tail_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

 private:
  static_assert(std::is_trivially_destructible_v<AccessRecord>);
  struct Release {
    void operator()(AccessRecord* memory) const { ::operator delete(memory); }
  };

  AccessRecord* slot(std::uint64_t index) const { return slots_.get() + (index & (capacity_ - 1)); }

  std::size_t capacity_;  ///< a power of two
  std::unique_ptr<AccessRecord, Release> slots_;
  alignas(64) std::atomic<std::uint64_t> head_{0};  ///< written by the producer
  std::uint64_t tail_seen_ = 0;                     ///< the producer's last look at tail_
  alignas(64) std::atomic<std::uint64_t> tail_{0};  ///< written by the consumer
};

}  // namespace pagewire::log
