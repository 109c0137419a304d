// cgroup-cpu: a limit of CPU time stops all workers at once, for tens of milliseconds.
//
// Rests on cpu.max of Documentation/admin-guide/cgroup-v2.rst, and sched-bwc.rst for version 1.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "doctor/cgroups.h"
#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

struct Limit {
  std::optional<double> cpus;
  std::uint64_t throttled = 0;  ///< periods in which it was reached, since the groups were made
};

void look(const std::string& folder, bool unified, Limit& limit) {
  std::optional<double> here =
      unified ? parse_cpu_max(sys::first_line_of(folder + "cpu.max"))
              : parse_cpu_max(sys::first_line_of(folder + "cpu.cfs_quota_us") + " " +
                              sys::first_line_of(folder + "cpu.cfs_period_us"));
  if (here && (!limit.cpus || *here < *limit.cpus)) limit.cpus = here;
  limit.throttled +=
      value_of(sys::read_text(folder + "cpu.stat").value_or(""), "nr_throttled").value_or(0);
}

Finding run(Examination& examination) {
  Finding finding{.looked_at = "cpu.max, or cpu.cfs_quota_us, of this process's control groups"};
  Limit limit;
  const bool seen =
      visit_cgroups({.system_root = examination.system_root, .controller = "cpu"},
                    [&](const std::string& folder, bool unified) { look(folder, unified, limit); });
  if (!seen) {
    finding.found = "in no group that can be seen";
    return finding;
  }
  const auto cores = static_cast<double>(examination.measured.cores);
  finding.found = limit.cpus
                      ? fmt::format("{:.2f} CPUs of {}", *limit.cpus, examination.measured.cores)
                      : "no limit";
  if (limit.throttled > 0) {
    finding.found += fmt::format("; throttled {} times so far", limit.throttled);
  }
  // Without a limit now, being throttled is history.
  if (!limit.cpus || (*limit.cpus >= cores && limit.throttled == 0)) return finding;
  finding.status = Status::Warning;
  finding.costs = "at the limit all workers stand still until the next period (100 ms by default)";
  // No more workers than CPUs: a part of one is what the kernel's other work for them takes.
  finding.mend = fmt::format("raise the limit, or pagewire serve --workers {:.0f}",
                             std::max(1.0, std::floor(std::min(*limit.cpus, cores))));
  return finding;
}

}  // namespace

const Check cgroup_cpu_check{.group = Group::Machine, .name = "cgroup-cpu", .run = run};

}  // namespace pagewire::doctor
