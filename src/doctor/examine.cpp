// The run: what is measured first, then check after check, then the verdict.
#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "doctor/cgroups.h"
#include "doctor/check.h"
#include "doctor/sample.h"
#include "doctor/verdict.h"
#include "sys/clock.h"
#include "sys/kernel_version.h"
#include "sys/mount.h"
#include "sys/netlink.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

constexpr std::size_t most_interfaces = 8;  // hosts of containers have hundreds

/// Why there is nothing to examine; "" when there is.
std::string what_is_missing(const Settings& settings) {
  struct stat status {};
  if (::stat(settings.root.c_str(), &status) != 0) {
    return fmt::format("--root {}: {}", settings.root, std::strerror(errno));
  }
  if (!S_ISDIR(status.st_mode)) return fmt::format("--root {}: is no folder", settings.root);
  if (!settings.interface.empty() && ::if_nametoindex(settings.interface.c_str()) == 0) {
    return fmt::format("--iface {}: there is no such interface in this network namespace",
                       settings.interface);
  }
  return {};
}

/// The one asked for, or those that are up: cards before lo.
std::vector<std::string> interfaces_of(const Settings& settings) {
  if (!settings.interface.empty()) return {settings.interface};
  std::vector<std::string> up = sys::interfaces_that_are_up().value_or(std::vector<std::string>{});
  std::ranges::stable_partition(up, [](const std::string& name) { return name != "lo"; });
  if (up.size() > most_interfaces) up.resize(most_interfaces);
  return up;
}

std::vector<Interface> with_queueing(const std::vector<std::string>& names) {
  Result<sys::Netlink> netlink = sys::Netlink::open();
  std::vector<Interface> interfaces;
  for (const std::string& name : names) {
    interfaces.push_back({.name = name});
    if (netlink) interfaces.back().queueing = netlink->queueing_of(name).value_or("");
  }
  return interfaces;
}

Entry entry_of(const Check& check, Examination& examination) {
  Entry entry{.group = check.group,
              .name = std::string(check.name),
              .interface = check.group == Group::Network ? examination.interface : "",
              .finding = check.run(examination),
              .link = fmt::format("docs/DOCTOR.md#{}", check.name)};
  // What is not known has no text of its own to show.
  if (entry.finding.status == Status::Unknown && entry.finding.found.empty()) {
    entry.finding.found = "not known";
  }
  return entry;
}

/// The checks of a group; those of Network once for each interface.
void run_group(Group group, Examination& examination, std::vector<Entry>& entries) {
  const auto run_all = [&] {
    for (const Check* const check : checks()) {
      if (check->group != group || (check->of_a_card && examination.interface == "lo")) continue;
      entries.push_back(entry_of(*check, examination));
    }
  };
  if (group != Group::Network) return run_all();
  for (const Interface& interface : examination.interfaces) {
    examination.interface = interface.name;
    examination.card = sys::ask_network_card(interface.name).value_or(sys::NetworkCard{});
    run_all();
  }
}

/// What may be used without taking it from somebody else.
ByteCount memory_room() {
  const std::string memory = sys::read_text("/proc/meminfo").value_or("");
  const std::uint64_t available_kib = value_of(memory, "MemAvailable:").value_or(mib);
  return ByteCount{std::min(available_kib * kib, memory_limit("").value_or(no_memory_limit))};
}

}  // namespace

tl::expected<Examined, std::string> examine(const Settings& settings) {
  const std::string missing = what_is_missing(settings);
  if (!missing.empty()) return tl::unexpected(missing);
  const std::int64_t begin_ns = sys::monotonic_ns();
  Examination examination{.settings = settings};
  Examined examined;
  examined.kernel = sys::kernel_release();
  examined.root = settings.root;
  examined.tls = settings.tls;
  examined.calibration = settings.calibration;
  examined.is_root = examination.is_root = ::geteuid() == 0;
  examined.interfaces = interfaces_of(settings);
  examination.interfaces = with_queueing(examined.interfaces);
  const Result<sys::Mount> mount = sys::mount_of(settings.root);
  if (mount) examined.filesystem = mount->type;
  examination.kernel = sys::parse_kernel_version(examined.kernel);
  examination.config = sys::KernelConfig::load();
  examination.cpu_times_before = parse_cpu_times(sys::first_line_of("/proc/stat"));
  examination.measured = measure(memory_room());
  examined.cpus = examination.measured.cores;
  if (auto sample = make_sample(settings.root)) {
    examination.sample = std::move(*sample);
  } else {
    examination.no_sample = sample.error();
  }
  for (const Group group : {Group::Kernel, Group::Network, Group::Filesystem, Group::Machine}) {
    run_group(group, examination, examined.entries);
  }
  examined.verdict = judge(examination, examined.entries);
  examined.took_s = static_cast<double>(sys::monotonic_ns() - begin_ns) / 1e9;
  return examined;
}

Status Examined::worst() const {
  const auto any = [this](Status status) {
    return std::ranges::any_of(
        entries, [status](const Entry& entry) { return entry.finding.status == status; });
  };
  return any(Status::Failed) ? Status::Failed : any(Status::Warning) ? Status::Warning : Status::Ok;
}

std::string_view name(Status status) {
  switch (status) {
    case Status::Ok:
      return "ok";
    case Status::Warning:
      return "warning";
    case Status::Failed:
      return "failed";
    case Status::Unknown:
      return "unknown";
  }
  return "";
}

std::string_view name(Group group) {
  switch (group) {
    case Group::Kernel:
      return "kernel";
    case Group::Network:
      return "network";
    case Group::Filesystem:
      return "filesystem";
    case Group::Machine:
      return "machine";
  }
  return "";
}

bool is_device(const Examination& examination) {
  const std::string link =
      examination.system_root + "/sys/class/net/" + examination.interface + "/device";
  return ::access(link.c_str(), F_OK) == 0;
}

std::string first_line(const Examination& examination, const std::string& file) {
  return sys::first_line_of(examination.system_root + file);
}

Finding unread(std::string_view looked_at, const std::string& file) {
  const Result<std::string> text = sys::read_text(file);
  return {
      .looked_at = std::string(looked_at),
      .found = {},
      .status = Status::Unknown,
      .reason = fmt::format("{}: {}", file, text ? "is not understood" : describe(text.error()))};
}

std::string text_of(const Cost& cost) {
  const auto number = [](double value) {
    return value < 10 ? fmt::format("{:.1f}", value) : fmt::format("{:.0f}", value);
  };
  return fmt::format("{} to {} ms of CPU for each Gbit", number(cost.low), number(cost.high));
}

std::string errno_text(int errno_value) {
  const char* const symbol = ::strerrorname_np(errno_value);
  return fmt::format("{} ({})", symbol == nullptr ? "?" : symbol, std::strerror(errno_value));
}

}  // namespace pagewire::doctor
