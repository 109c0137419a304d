// cachestat: whether the kernel says which pages of a file are in memory.
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

constexpr long cachestat_number = 451;  // on every architecture; newer than Debian 12's headers
constexpr std::string_view looked_at = "cachestat(2) of a file in ROOT";

Finding run(Examination& examination) {
  if (!examination.sample.is_open()) {
    return {.looked_at = std::string(looked_at),
            .found = {},
            .status = Status::Unknown,
            .reason = examination.no_sample};
  }
  std::array<std::uint64_t, 2> range{0, sample_bytes};
  std::array<std::uint64_t, 5> answer{};  // cached, dirty, writeback, evicted, recently evicted
  const long done =
      ::syscall(cachestat_number, examination.sample.get(), range.data(), answer.data(), 0);
  Finding finding{.looked_at = std::string(looked_at), .found = {}};
  if (done != 0) {
    // ENOSYS: before 6.5, or a filter that says so; EPERM: a filter, for the file is ours.
    finding.found = errno_text(errno);
    finding.costs = "cold pages are found by reading single bytes (RWF_NOWAIT) alone";
    finding.mend = !(examination.kernel < KernelVersion{6, 5})
                       ? "allow cachestat in the container's seccomp profile"
                       : "install a kernel of 6.5 or newer";
    finding.status = Status::Warning;
  } else if (answer[0] == 0) {
    finding.found = "says that no page of a file just written is in memory (overlayfs does)";
    finding.costs = "what is cold cannot be told: the worker waits for the disk itself";
    finding.mend = "serve a folder that is no overlay: a volume or bind mount";
    finding.status = Status::Warning;
  } else {
    examination.sees_cold_pages = true;
    finding.found = fmt::format("works: {} pages of a file just written are in memory", answer[0]);
  }
  return finding;
}

}  // namespace

const Check cachestat_check{.group = Group::Kernel, .name = "cachestat", .run = run};

}  // namespace pagewire::doctor
