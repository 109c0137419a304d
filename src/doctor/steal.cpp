// steal: CPU time that the hypervisor gave to others, since boot and while doctor ran.
#include <fmt/format.h>

#include <algorithm>

#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

constexpr double much_percent = 5;

double percent(const CpuTimes& times) {
  return times.total == 0
             ? 0
             : 100 * static_cast<double>(times.steal) / static_cast<double>(times.total);
}

Finding run(Examination& examination) {
  const std::string file = "/proc/stat";
  const auto now = parse_cpu_times(sys::first_line_of(file));
  if (!now) return unread("/proc/stat", file);
  const CpuTimes before = examination.cpu_times_before.value_or(CpuTimes{});
  // Counters of stolen time may go back a little when a machine moves to another host.
  const CpuTimes meanwhile{.total = now->total - std::min(now->total, before.total),
                           .steal = now->steal - std::min(now->steal, before.steal)};
  Finding finding{
      .looked_at = "/proc/stat",
      .found = fmt::format("{:.1f}% since boot, {:.1f}% now", percent(*now), percent(meanwhile))};
  if (percent(*now) < much_percent && percent(meanwhile) < much_percent) return finding;
  finding.status = Status::Warning;
  finding.costs = "other machines on this host take CPU time: figures swing, latencies grow";
  finding.mend = "ask for dedicated CPUs, or another host";
  return finding;
}

}  // namespace

const Check steal_check{.group = Group::Machine, .name = "steal", .run = run};

}  // namespace pagewire::doctor
