#include "sys/large_folios.h"

#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>

#include "sys/capabilities.h"
#include "sys/fd.h"

namespace pagewire::sys {

namespace {

// pagemap.rst: bits 0 to 54 are the frame's number, 63 says that the page is there.
constexpr std::uint64_t frame_bits = (1ULL << 55) - 1;
constexpr std::uint64_t present_bit = 1ULL << 63;

bool read_word(const Fd& file, std::uint64_t index, std::uint64_t& into) {
  const auto at = static_cast<off_t>(index * sizeof into);
  return ::pread(file.get(), &into, sizeof into, at) == sizeof into;
}

}  // namespace

Result<Folios> folios_of(int fd, ByteCount size) {
  // Without it the frames' numbers read as zero, which would be another page's flags.
  if (!has_capability(Capability::SysAdmin)) return failure("pagemap", EPERM);
  const Fd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pagemap.is_open()) return last_error("open(/proc/self/pagemap)");
  const Fd flags(::open("/proc/kpageflags", O_RDONLY | O_CLOEXEC));
  if (!flags.is_open()) return last_error("open(/proc/kpageflags)");
  void* const mapping = ::mmap(nullptr, size.value, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (mapping == MAP_FAILED) return last_error("mmap");
  const auto page_bytes = static_cast<std::uint64_t>(::getpagesize());
  const std::uint64_t first = reinterpret_cast<std::uintptr_t>(mapping) / page_bytes;
  Folios found;
  for (std::uint64_t i = 0; i < size.value / page_bytes; ++i) {
    std::uint64_t entry = 0;
    std::uint64_t page = 0;
    if (!read_word(pagemap, first + i, entry) || (entry & present_bit) == 0) continue;
    if (!read_word(flags, entry & frame_bits, page)) continue;
    ++found.pages;
    if ((page >> KPF_COMPOUND_TAIL & 1U) == 0) ++found.folios;
  }
  ::munmap(mapping, size.value);
  return found;
}

}  // namespace pagewire::sys
