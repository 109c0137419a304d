// The machine of environment.h, from /proc, /sys and a few calls.
#include "bench/environment.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <ctime>

#include "bench/meter.h"
#include "sys/clock.h"
#include "sys/interface.h"
#include "sys/kernel_config.h"
#include "sys/mount.h"
#include "sys/perf.h"
#include "sys/text_file.h"

namespace pagewire::bench {

namespace {

// RFC 3339, UTC.
std::string date_now() {
  const std::time_t seconds = sys::realtime_coarse_s();
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::array<char, 32> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return std::string(text.data(), size);
}

std::string kernel_release() {
  utsname kernel{};
  return ::uname(&kernel) == 0 ? kernel.release : "";
}

// The first CPU's part of /proc/cpuinfo; "" without such a line (arm64 has no "model name").
std::string cpuinfo(std::string_view key) {
  std::array<char, 8192> buffer;
  const Result<std::string_view> text = sys::read_text("/proc/cpuinfo", buffer);
  if (!text) return {};
  std::size_t at = text->starts_with(key) ? 0 : text->find(fmt::format("\n{}", key));
  if (at == text->npos) return {};
  if (at != 0) ++at;
  const std::string_view line = text->substr(at, text->find('\n', at) - at);
  const std::size_t value = line.find(": ");
  return value == line.npos ? std::string() : std::string(line.substr(value + 2));
}

// CPUID says it to x86 alone.
std::optional<bool> is_virtual_machine() {
  const std::string flags = cpuinfo("flags");
  if (flags.empty()) return std::nullopt;
  return fmt::format(" {} ", flags).find(" hypervisor ") != std::string::npos;
}

void describe_accounting(Environment& environment) {
  const std::optional<sys::KernelConfig> config = sys::KernelConfig::load();
  if (!config) {
    environment.irq_time_meaning =
        "unknown who is charged for softirqs: the kernel's configuration cannot be read";
    return;
  }
  environment.irq_time_accounting = config->value_of("IRQ_TIME_ACCOUNTING");
  environment.tick_cpu_accounting = config->value_of("TICK_CPU_ACCOUNTING");
  environment.hz = config->value_of("HZ");
  environment.irq_time_meaning = environment.irq_time_accounting == "y"
                                     ? "softirq time is kept apart and is not in the server's CPU"
                                     : "softirq time is charged to whoever was interrupted";
}

std::string hardware_counters() {
  const Result<sys::PerfCounter> cycles =
      sys::PerfCounter::open(sys::PerfEvent::Cycles, ::getpid());
  return cycles ? "available" : sys::reason_for(sys::PerfEvent::Cycles, cycles.error());
}

std::string filesystem_of(const std::string& file) {
  const Result<sys::Mount> mount = sys::mount_of(file);
  if (!mount) return {};
  if (mount->source.empty() || mount->source == mount->type || mount->source == "none") {
    return mount->type;
  }
  return mount->type + " on " + mount->source;
}

void add_offloads(const sys::InterfaceInfo& interface, Environment& environment) {
  environment.offloads.clear();
  for (const sys::Offload& offload : interface.offloads) {
    environment.offloads.push_back(offload.name + (offload.on ? " on" : " off"));
  }
}

void describe_network(NetKind net, Environment& environment) {
  switch (net) {
    case NetKind::Loopback: {
      environment.network = "loopback";
      environment.notes.emplace_back(
          "loopback: MSG_ZEROCOPY is copied, about a third of the sender's CPU is the receiver's "
          "softirq; read ratios, not absolute figures");
      const Result<sys::InterfaceInfo> interface = sys::describe_interface("lo");
      if (interface) add_offloads(*interface, environment);
      break;
    }
    case NetKind::Veth:
      environment.network = "veth";
      environment.notes.emplace_back(
          "veth: MSG_ZEROCOPY is copied, the receiver's softirq is part of the sender's CPU, and "
          "no card or driver takes part; read ratios, not absolute figures");
      break;
  }
}

}  // namespace

Environment describe_environment(const std::string& file, NetKind net) {
  Environment environment;
  environment.date = date_now();
  environment.kernel = kernel_release();
  environment.cpu_model = cpuinfo("model name");
  const long cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
  environment.cpus = cpus > 0 ? static_cast<std::size_t>(cpus) : 0;
  environment.virtual_machine = is_virtual_machine();
  environment.clock_source =
      sys::first_line_of("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  describe_accounting(environment);
  if (const std::optional<double> hz = tsc_hz()) environment.tsc_mhz = *hz / 1e6;
  environment.hardware_counters = hardware_counters();
  environment.filesystem = filesystem_of(file);
  double load = 0;
  if (::getloadavg(&load, 1) == 1) environment.load_average = load;
  describe_network(net, environment);
  return environment;
}

void describe_interface(const std::string& interface, Environment& environment) {
  environment.network = interface;
  environment.offloads.clear();
  const Result<sys::InterfaceInfo> info = sys::describe_interface(interface);
  if (!info) return;  // no such interface: its name is all that is known
  if (!info->driver.empty()) environment.network += " (" + info->driver + ")";
  add_offloads(*info, environment);
}

}  // namespace pagewire::bench
