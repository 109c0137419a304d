// direct-reads: whether the filesystem reads past the page cache (O_DIRECT).
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

constexpr std::size_t piece_bytes = 64 * kib;

Finding run(Examination& examination) {
  Finding finding{.looked_at = "64 KiB with O_DIRECT from a file in ROOT"};
  if (!examination.sample.is_open()) {
    finding.status = Status::Unknown;
    finding.reason = examination.no_sample;
    return finding;
  }
  // The descriptor anew: it has no name to open.
  const std::string name = fmt::format("/proc/self/fd/{}", examination.sample.get());
  const sys::Fd direct(::open(name.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (!direct.is_open()) {
    finding.found = "not here: " + errno_text(errno);  // EINVAL: the filesystem has none
    return finding;
  }
  const std::unique_ptr<void, void (*)(void*)> into(std::aligned_alloc(4096, piece_bytes),
                                                    std::free);
  const ssize_t n = ::pread(direct.get(), into.get(), piece_bytes, 0);
  finding.found = n < 0 ? "not here: " + errno_text(errno) : "work";
  return finding;
}

}  // namespace

const Check fs_direct_reads_check{.group = Group::Filesystem, .name = "direct-reads", .run = run};

}  // namespace pagewire::doctor
