// The table of metric.h. The names are in every JSON and CSV that was ever written: one that
// changes is a new schema_version.
#include "bench/metric.h"

#include <algorithm>
#include <array>

namespace pagewire::bench {

namespace {

constexpr bool is_judged = true;
constexpr bool is_for_reading = false;

// Judged is what a user pays or waits for and what rounds of a few seconds can tell apart; p99.9
// hangs on a handful of answers, and the rest explains the judged ones.
constexpr std::array<MetricInfo, metric_count> table{{
    {Metric::ThroughputGbitPerS, "throughput_gbit_per_s", "throughput", "Gbit/s", Better::Higher,
     is_judged},
    {Metric::RequestsPerS, "requests_per_s", "requests", "/s", Better::Higher, is_judged},
    {Metric::CpuPercent, "cpu_percent", "server CPU", "%", Better::Lower, is_for_reading},
    {Metric::CpuUserPercent, "cpu_user_percent", "CPU, user", "%", Better::Lower, is_for_reading},
    {Metric::CpuSystemPercent, "cpu_system_percent", "CPU, system", "%", Better::Lower,
     is_for_reading},
    {Metric::CpuSoftirqPercent, "cpu_softirq_percent", "CPU, softirq", "%", Better::Lower,
     is_for_reading},
    {Metric::CpuMsPerGbit, "cpu_ms_per_gbit", "CPU per Gbit", "ms", Better::Lower, is_judged},
    {Metric::CpuUsPerRequest, "cpu_us_per_request", "CPU per request", "us", Better::Lower,
     is_judged},
    {Metric::CyclesPerGbit, "cycles_per_gbit", "cycles per Gbit", "", Better::Lower,
     is_for_reading},
    {Metric::ServiceDemandUsPerKib, "service_demand_us_per_kib", "service demand", "us/KiB",
     Better::Lower, is_for_reading},
    {Metric::SyscallsPerS, "syscalls_per_s", "system calls", "/s", Better::Lower, is_for_reading},
    {Metric::BytesPerSyscall, "bytes_per_syscall", "bytes per system call", "B", Better::Higher,
     is_for_reading},
    {Metric::VoluntarySwitchesPerS, "voluntary_switches_per_s", "voluntary switches", "/s",
     Better::Lower, is_for_reading},
    {Metric::InvoluntarySwitchesPerS, "involuntary_switches_per_s", "involuntary switches", "/s",
     Better::Lower, is_for_reading},
    {Metric::MinorFaults, "minor_faults", "minor faults", "", Better::Lower, is_for_reading},
    {Metric::MajorFaults, "major_faults", "major faults", "", Better::Lower, is_for_reading},
    {Metric::CopiedBytes, "copied_bytes", "copied by the CPU", "B", Better::Lower, is_for_reading},
    {Metric::CopiesPerByte, "copies_per_byte", "copies per byte", "", Better::Lower, is_judged},
    {Metric::MemoryTrafficPerByte, "memory_traffic_per_byte", "memory traffic per byte", "B",
     Better::Lower, is_for_reading},
    {Metric::LlcMissesPerGbit, "llc_misses_per_gbit", "LLC load misses per Gbit", "", Better::Lower,
     is_for_reading},
    {Metric::CopySharePercent, "copy_share_percent", "CPU in copy functions", "%", Better::Lower,
     is_for_reading},
    {Metric::Retransmits, "retransmits", "TCP retransmits", "", Better::Lower, is_for_reading},
    {Metric::ReceiverLimitedPercent, "receiver_limited_percent", "limited by the receiver", "%",
     Better::Neither, is_for_reading},
    {Metric::SendBufferLimitedPercent, "send_buffer_limited_percent", "limited by the send buffer",
     "%", Better::Neither, is_for_reading},
    {Metric::LatencyP50Us, "latency_p50_us", "latency p50", "us", Better::Lower, is_judged},
    {Metric::LatencyP90Us, "latency_p90_us", "latency p90", "us", Better::Lower, is_for_reading},
    {Metric::LatencyP99Us, "latency_p99_us", "latency p99", "us", Better::Lower, is_judged},
    {Metric::LatencyP999Us, "latency_p999_us", "latency p99.9", "us", Better::Lower,
     is_for_reading},
    {Metric::ClientCpuPercent, "client_cpu_percent", "client CPU", "%", Better::Neither,
     is_for_reading},
    {Metric::ServerWaitPercent, "server_wait_percent", "server waited for its CPU", "%",
     Better::Lower, is_for_reading},
    {Metric::KsoftirqdPercent, "ksoftirqd_percent", "ksoftirqd", "%", Better::Lower,
     is_for_reading},
    {Metric::StealPercent, "steal_percent", "steal of the machine", "%", Better::Lower,
     is_for_reading},
}};

constexpr bool is_in_order_of_the_enumerators() {
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (static_cast<std::size_t>(table[i].metric) != i || table[i].name.empty()) return false;
  }
  return true;
}
static_assert(is_in_order_of_the_enumerators());

}  // namespace

std::span<const MetricInfo> metrics() {
  return table;
}

const MetricInfo& info(Metric metric) {
  return table[static_cast<std::size_t>(metric)];
}

std::optional<Metric> find_metric(std::string_view name) {
  const auto found = std::ranges::find(table, name, &MetricInfo::name);
  if (found == table.end()) return std::nullopt;
  return found->metric;
}

}  // namespace pagewire::bench
