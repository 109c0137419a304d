// MirrorLane::Shared and MirrorAlarm: what a worker and the mirror's thread share.
//
// Invariant: the heads in the queue describe, in order, all bytes that have been in the pipe since
// the start; a head is committed after its bytes are in the pipe. Each field that changes is
// written by one side alone. Kernel facts: as in mirror.h.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/spsc_ring.h"
#include "relay/mirror.h"
#include "sys/epoll.h"

namespace pagewire::relay {

/// Wakes the mirror's thread. It sleeps for good only after it has said so and then found every
/// lane empty; while bytes flow it naps, and a worker then wakes it only when much waits.
class MirrorAlarm {
 public:
  enum class Sleep : std::uint8_t { Awake, Nap, Deep };

  explicit MirrorAlarm(sys::Wakeup wakeup) : wakeup_(std::move(wakeup)) {}

  /// A worker has committed a head.
  void committed(bool much) {
    Sleep seen = sleeping_.load(std::memory_order_seq_cst);
    if (seen == Sleep::Awake || (seen == Sleep::Nap && !much)) return;
    // The exchange lets one of many workers make the system call.
    if (sleeping_.compare_exchange_strong(seen, Sleep::Awake)) wakeup_.wake();
  }
  /// Stop, or a new file: whatever it is doing.
  void ring() { wakeup_.wake(); }

  // The mirror's thread:
  void fall_asleep(Sleep how) { sleeping_.store(how, std::memory_order_seq_cst); }
  void rise() {
    sleeping_.store(Sleep::Awake, std::memory_order_seq_cst);
    wakeup_.clear();
  }
  int fd() const { return wakeup_.fd(); }

 private:
  sys::Wakeup wakeup_;
  std::atomic<Sleep> sleeping_{Sleep::Awake};
};

struct MirrorLane::Shared {
  struct Wiring {
    MirrorAlarm& alarm;
    std::atomic<std::uint64_t>& connections;  ///< the last connection's number
    bool mirrored[2];                         ///< by Direction
  };
  Shared(const Wiring& wires, sys::Pipe made, std::size_t head_count)
      : wiring(wires), pipe(std::move(made)), heads(head_count) {}

  const Wiring wiring;
  const sys::Pipe pipe;
  SpscRing<MirrorHead> heads;
  std::uint64_t put_bytes = 0;  ///< the worker's
  std::atomic<std::uint64_t> dropped_bytes{0};
  std::atomic<std::uint64_t> dropped_records{0};
  std::atomic<std::uint64_t> gaps{0};
  alignas(64) std::atomic<std::uint64_t> taken_bytes{0};  ///< the thread's
};

}  // namespace pagewire::relay
