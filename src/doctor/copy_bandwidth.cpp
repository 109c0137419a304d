// copy-bandwidth: what a copy costs here, which most estimates rest on.
#include <fmt/format.h>

#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

Finding run(Examination& examination) {
  const Measured& measured = examination.measured;
  Finding finding{.looked_at = "pread(2) from the page cache, one core and all at once"};
  if (!measured.copy_cached || !measured.copy_memory) {
    finding.status = Status::Unknown;
    finding.reason = measured.no_copies;
    return finding;
  }
  finding.found = fmt::format(
      "{:.1f} GB/s a core out of its cache, {:.1f} from memory{}", *measured.copy_cached / 1e9,
      *measured.copy_memory / 1e9,
      measured.is_small ? " (so little as may be used here, which a larger cache holds)" : "");
  if (measured.copy_all_cores) {
    finding.found +=
        fmt::format("; {:.1f} by {} cores at once", *measured.copy_all_cores / 1e9, measured.cores);
  }
  if (const std::optional<Cost> one = measured.copies(one_copy)) {
    finding.found +=
        fmt::format("; each copy of a Gbit is {:.0f} to {:.0f} ms of CPU", one->low, one->high);
  }
  return finding;
}

}  // namespace

const Check copy_bandwidth_check{.group = Group::Machine, .name = "copy-bandwidth", .run = run};

}  // namespace pagewire::doctor
