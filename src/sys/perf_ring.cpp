#include "sys/perf_ring.h"

#include <linux/perf_event.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace pagewire::sys {

Result<PerfRing> PerfRing::map(const Fd& event, std::size_t pages) {
  PerfRing ring;
  ring.bytes_ = (pages + 1) * static_cast<std::size_t>(::getpagesize());
  // Writable, so that the kernel knows what was read and never writes over the rest.
  void* const address =
      ::mmap(nullptr, ring.bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, event.get(), 0);
  if (address == MAP_FAILED) return last_error("mmap");
  ring.ring_ = address;
  return ring;
}

PerfRing& PerfRing::operator=(PerfRing&& other) noexcept {
  if (this != &other) {
    unmap();
    ring_ = std::exchange(other.ring_, nullptr);
    bytes_ = other.bytes_;
    record_ = std::move(other.record_);
  }
  return *this;
}

void PerfRing::unmap() {
  if (ring_ != nullptr) ::munmap(std::exchange(ring_, nullptr), bytes_);
}

// head and tail count bytes from the beginning of time. The kernel's stores to the records come
// before its store to data_head, hence the acquire; our loads of the records before ours to
// data_tail, hence the release (linux/perf_event.h).
void PerfRing::drain(const std::function<void(std::span<const unsigned char> record)>& take) {
  auto* const page = static_cast<perf_event_mmap_page*>(ring_);
  const auto page_bytes = static_cast<std::size_t>(::getpagesize());
  const auto* const data = static_cast<const unsigned char*>(ring_) + page_bytes;
  const std::uint64_t size = bytes_ - page_bytes;  // a power of two
  const std::uint64_t head = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE);
  std::uint64_t tail = page->data_tail;  // only we write it
  while (tail < head) {
    // Records are multiples of 8 bytes, so that a header never wraps around; the rest may.
    perf_event_header header{};
    std::memcpy(&header, data + tail % size, sizeof header);
    record_.resize(header.size);
    const std::size_t before_end = std::min<std::size_t>(header.size, size - tail % size);
    std::memcpy(record_.data(), data + tail % size, before_end);
    std::memcpy(record_.data() + before_end, data, header.size - before_end);
    take(record_);
    tail += header.size;
  }
  __atomic_store_n(&page->data_tail, tail, __ATOMIC_RELEASE);
}

}  // namespace pagewire::sys
