// numa: whether the card and the CPUs that serve are on one node.
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>

#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

/// CPUs of the node that this process may run on.
std::size_t ours_on(const Examination& examination, std::uint64_t node) {
  const std::vector<int> cpus = parse_cpu_list(
      first_line(examination, fmt::format("/sys/devices/system/node/node{}/cpulist", node)));
  cpu_set_t ours;
  // EINVAL: more CPUs than a cpu_set_t has room for (1024). Nobody pins a process there by chance.
  if (::sched_getaffinity(0, sizeof ours, &ours) != 0) return cpus.size();
  return static_cast<std::size_t>(std::ranges::count_if(
      cpus, [&](int cpu) { return cpu < CPU_SETSIZE && CPU_ISSET(cpu, &ours); }));
}

/// The node of an interface's card; nullopt: it has none (lo, a bridge), or the machine does not
/// tell
/// ("-1").
std::optional<std::uint64_t> node_of(const Examination& examination, const std::string& interface) {
  const std::string device = "/sys/class/net/" + interface + "/device/";
  const std::string own = first_line(examination, device + "numa_node");
  // A virtio device stands on the PCI device that has the node.
  return parse_number(own.empty() ? first_line(examination, device + "../numa_node") : own);
}

Finding run(Examination& examination) {
  Finding finding{.looked_at = "numa_node of the network cards, the nodes' CPUs",
                  .found = "one node"};
  const std::vector<int> nodes =
      parse_cpu_list(first_line(examination, "/sys/devices/system/node/online"));
  if (nodes.size() <= 1) return finding;
  finding.found = fmt::format("{} nodes", nodes.size());
  std::vector<std::uint64_t> far;
  for (const Interface& interface : examination.interfaces) {
    const std::optional<std::uint64_t> node = node_of(examination, interface.name);
    if (!node) continue;
    const std::size_t near = ours_on(examination, *node);
    finding.found += fmt::format("; {} is at node {}, as are {} of the {} CPUs of this process",
                                 interface.name, *node, near, examination.measured.cores);
    if (near == 0) far.push_back(*node);
  }
  if (finding.found.find(';') == finding.found.npos) finding.found += "; that of no card is told";
  if (far.empty()) return finding;
  finding.status = Status::Warning;
  finding.costs = "every byte crosses from node to node on its way to the card";
  finding.mend = fmt::format("numactl --cpunodebind={} --membind={} pagewire serve ...",
                             far.front(), far.front());
  return finding;
}

}  // namespace

const Check numa_check{.group = Group::Machine, .name = "numa", .run = run};

}  // namespace pagewire::doctor
