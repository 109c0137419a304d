// The ring that the kernel writes an event's records to (perf_event_open(2), MMAP layout); private
// to sys/.
//
// Owns the mapping, not the event. Invariant: only what drain() has handed on is given back to the
// kernel, which never writes over the rest.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

namespace pagewire::sys {

class PerfRing {
 public:
  /// `pages` of records, a power of two. Errors: EPERM (more locked memory than
  /// kernel.perf_event_mlock_kb and RLIMIT_MEMLOCK allow), ENOMEM, EINVAL.
  static Result<PerfRing> map(const Fd& event, std::size_t pages);
  PerfRing(PerfRing&& other) noexcept
      : ring_(std::exchange(other.ring_, nullptr)),
        bytes_(other.bytes_),
        record_(std::move(other.record_)) {}
  PerfRing& operator=(PerfRing&& other) noexcept;
  ~PerfRing() { unmap(); }

  /// Hands on every whole record that is there, with its header, and empties the ring. The memory
  /// is the ring's until `take` returns.
  void drain(const std::function<void(std::span<const unsigned char> record)>& take);

 private:
  PerfRing() = default;
  void unmap();

  void* ring_ = nullptr;
  std::size_t bytes_ = 0;  // with the first page, which says where it is written and read
  std::vector<unsigned char> record_;
};

}  // namespace pagewire::sys
