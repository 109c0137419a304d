// cgroup-memory: the page cache counts against the limit, so that a small one makes files cold.
#include <fmt/format.h>

#include <algorithm>

#include "doctor/cgroups.h"
#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

constexpr std::uint64_t small_limit = 512 * mib;
// cgroup 1 says "no limit" as the largest multiple of a page in 63 bits.
constexpr std::uint64_t no_limit = 1ULL << 62;

void look(const std::string& folder, bool unified, std::uint64_t& least) {
  // Above memory.high the page cache is taken back as it is above memory.max. "max": no limit.
  const std::vector<std::string> files = unified
                                             ? std::vector<std::string>{"memory.max", "memory.high"}
                                             : std::vector<std::string>{"memory.limit_in_bytes"};
  for (const std::string& file : files) {
    least = std::min(least, parse_number(sys::first_line_of(folder + file)).value_or(no_limit));
  }
}

Finding run(Examination& examination) {
  Finding finding{
      .looked_at =
          "memory.max and memory.high, or memory.limit_in_bytes, of this process's control groups"};
  std::uint64_t least = no_limit;
  const bool seen =
      visit_cgroups({.system_root = examination.system_root, .controller = "memory"},
                    [&](const std::string& folder, bool unified) { look(folder, unified, least); });
  if (!seen || least >= no_limit) {
    finding.found = seen ? "no limit" : "in no group that can be seen";
    return finding;
  }
  finding.found = fmt::format("{} MiB, page cache included", least / mib);
  if (least >= small_limit) return finding;
  finding.status = Status::Warning;
  finding.costs = "files that do not fit in it are read from the disk again and again";
  finding.mend = "raise the group's memory limit above the size of what is asked for often";
  return finding;
}

}  // namespace

const Check cgroup_memory_check{.group = Group::Machine, .name = "cgroup-memory", .run = run};

}  // namespace pagewire::doctor
