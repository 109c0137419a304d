// SpscRing: a bounded queue of records with one producer (a worker) and one consumer (a thread that
// writes them somewhere).
//
// Records are filled in place, so one costs no copy and no allocation. The memory is touched slot
// by slot as records come: a quiet worker's ring stays mostly unmapped. Invariant: tail <= head <=
// tail + capacity; slots [tail, head) are the consumer's, the rest the producer's.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>

namespace pagewire {

template <class Record>
class SpscRing {
 public:
  explicit SpscRing(std::size_t records)
      : capacity_(std::bit_ceil(records < 2 ? std::size_t{2} : records)),
        slots_(static_cast<Record*>(::operator new(capacity_ * sizeof(Record)))) {}

  /// Producer: a fresh record, or nullptr when no more than `keep` slots are free.
  Record* begin(std::size_t keep = 0) {
    const std::uint64_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_seen_ + keep >= capacity_) {
      tail_seen_ = tail_.load(std::memory_order_acquire);
      if (head - tail_seen_ + keep >= capacity_) return nullptr;
    }
    return new (slot(head)) Record;
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
  const Record* front() const {
    const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
    if (head_.load(std::memory_order_seq_cst) == tail) return nullptr;
    return std::launder(slot(tail));
  }
  void pop() { tail_.store(tail_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

 private:
  static_assert(std::is_trivially_destructible_v<Record>);
  struct Release {
    void operator()(Record* memory) const { ::operator delete(memory); }
  };

  Record* slot(std::uint64_t index) const { return slots_.get() + (index & (capacity_ - 1)); }

  std::size_t capacity_;  ///< a power of two
  std::unique_ptr<Record, Release> slots_;
  alignas(64) std::atomic<std::uint64_t> head_{0};  ///< written by the producer
  std::uint64_t tail_seen_ = 0;                     ///< the producer's last look at tail_
  alignas(64) std::atomic<std::uint64_t> tail_{0};  ///< written by the consumer
};

}  // namespace pagewire
