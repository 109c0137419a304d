// numa: whether the card and the CPUs that serve are on one node.
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>

#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

/// CPUs of the node that this process may run on.
std::size_t ours_on(int node) {
  cpu_set_t ours;
  if (::sched_getaffinity(0, sizeof ours, &ours) != 0) return 0;
  const std::vector<int> cpus = parse_cpu_list(
      sys::first_line_of(fmt::format("/sys/devices/system/node/node{}/cpulist", node)));
  return static_cast<std::size_t>(std::ranges::count_if(
      cpus, [&](int cpu) { return cpu < CPU_SETSIZE && CPU_ISSET(cpu, &ours); }));
}

Finding run(Examination& examination) {
  Finding finding{.looked_at = "numa_node of the network card, the nodes' CPUs",
                  .found = "one node"};
  const std::vector<int> nodes =
      parse_cpu_list(sys::first_line_of("/sys/devices/system/node/online"));
  if (nodes.size() <= 1) return finding;
  const std::string file = "/sys/class/net/" + examination.interface + "/device/numa_node";
  const std::optional<std::uint64_t> node = parse_number(sys::first_line_of(file));
  if (!node) {  // also "-1": the card does not tell
    finding.found =
        fmt::format("{} nodes; that of {} is not told", nodes.size(), examination.interface);
    return finding;
  }
  const std::size_t near = ours_on(static_cast<int>(*node));
  finding.found =
      fmt::format("{} nodes; {} is at node {}, as are {} of the {} CPUs of this process",
                  nodes.size(), examination.interface, *node, near, examination.measured.cores);
  if (near > 0) return finding;
  finding.status = Status::Warning;
  finding.costs = "every byte crosses from node to node on its way to the card";
  finding.mend =
      fmt::format("numactl --cpunodebind={} --membind={} pagewire serve ...", *node, *node);
  return finding;
}

}  // namespace

const Check numa_check{.group = Group::Machine, .name = "numa", .run = run};

}  // namespace pagewire::doctor
