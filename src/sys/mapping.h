// Mapping: a read-only, shared view of a slice of a file.
//
// User code must not read through it: a file truncated after mmap(2) makes the access SIGBUS. Hand
// the memory to the kernel instead (send(2) gives EFAULT for the missing pages).
#pragma once

#include <sys/mman.h>

#include <utility>

#include "base/result.h"
#include "base/units.h"

namespace pagewire::sys {

class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)),
        range_(std::exchange(other.range_, ByteRange{})) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      unmap();
      address_ = std::exchange(other.address_, nullptr);
      range_ = std::exchange(other.range_, ByteRange{});
    }
    return *this;
  }
  ~Mapping() { unmap(); }

  /// Maps `range` of `fd`; range.offset must be a multiple of the page size, count > 0.
  /// Errors: ENOMEM (address space or map count), ENODEV (the filesystem cannot), EACCES.
  static Result<Mapping> map(int fd, ByteRange range) {
    void* const address = ::mmap(nullptr, range.count.value, PROT_READ, MAP_SHARED, fd,
                                 static_cast<off_t>(range.offset.value));
    if (address == MAP_FAILED) return last_error("mmap");
    Mapping mapping;
    mapping.address_ = static_cast<char*>(address);
    mapping.range_ = range;
    return mapping;
  }

  bool is_mapped() const { return address_ != nullptr; }
  ByteRange range() const { return range_; }
  const char* at(FileOffset offset) const {
    return address_ + (offset.value - range_.offset.value);
  }

  void unmap() {
    if (address_ == nullptr) return;
    ::munmap(std::exchange(address_, nullptr), range_.count.value);
    range_ = {};
  }

 private:
  char* address_ = nullptr;
  ByteRange range_;
};

}  // namespace pagewire::sys
