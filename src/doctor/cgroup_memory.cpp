// cgroup-memory: the page cache counts against the limit, so that a small one makes files cold.
#include <fmt/format.h>

#include "doctor/cgroups.h"
#include "doctor/registry.h"

namespace pagewire::doctor {

namespace {

constexpr std::uint64_t small_limit = 512 * mib;

Finding run(Examination& examination) {
  Finding finding{
      .looked_at =
          "memory.max and memory.high, or memory.limit_in_bytes, of this process's control groups"};
  const std::optional<std::uint64_t> limit = memory_limit(examination.system_root);
  if (!limit || *limit >= no_memory_limit) {
    finding.found = limit ? "no limit" : "in no group that can be seen";
    return finding;
  }
  finding.found = fmt::format("{} MiB, page cache included", *limit / mib);
  if (*limit >= small_limit) return finding;
  finding.status = Status::Warning;
  finding.costs = "files that do not fit in it are read from the disk again and again";
  finding.mend = "raise the group's memory limit above the size of what is asked for often";
  return finding;
}

}  // namespace

const Check cgroup_memory_check{.group = Group::Machine, .name = "cgroup-memory", .run = run};

}  // namespace pagewire::doctor
