// The metrics of a bill: one table says what each is called, its unit, and which way is better.
//
// A new metric is one enumerator, one line in metric.cpp, and the place that measures it
// (figures.cpp). Every report lists every metric: what could not be had is null with a reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace pagewire::bench {

enum class Metric : std::uint8_t {
  // What was moved.
  ThroughputGbitPerS,  ///< as the client received it
  RequestsPerS,        ///< request mode
  // What it cost the server's process.
  CpuPercent,             ///< of one core: run time of the process, the scheduler's nanoseconds
  CpuUserPercent,         ///< of one core; sampled at ticks where TICK_CPU_ACCOUNTING is set
  CpuSystemPercent,       ///< likewise; holds softirq time unless IRQ_TIME_ACCOUNTING is set
  CpuSoftirqPercent,      ///< of the server's CPU, whoever was charged for it
  CpuMsPerGbit,           ///< the bill
  CpuUsPerRequest,        ///< request mode
  CyclesPerGbit,          ///< counted by the CPU, or modelled: CPU time x TSC frequency
  ServiceDemandUsPerKib,  ///< netperf's: us of CPU per 1024 bytes
  // What it did for that.
  SyscallsPerS,     ///< tracepoint, in the instrumented round
  BytesPerSyscall,  ///< likewise
  VoluntarySwitchesPerS,
  InvoluntarySwitchesPerS,
  MinorFaults,
  MajorFaults,
  CopiedBytes,           ///< by the CPU between user and kernel memory, as the paths count it
  CopiesPerByte,         ///< CopiedBytes / bytes sent
  MemoryTrafficPerByte,  ///< bytes of memory traffic per byte sent; modelled, a range
  LlcMissesPerGbit,      ///< last-level cache load misses
  CopySharePercent,      ///< of the server's CPU samples, those inside kernel copy functions
  // What TCP says (TCP_INFO, tcp(7)), over all connections.
  Retransmits,             ///< segments
  ReceiverLimitedPercent,  ///< of the time that TCP had something to send
  SendBufferLimitedPercent,
  // How long an answer took; request mode. Closed loop, unless a rate was offered.
  LatencyP50Us,
  LatencyP90Us,
  LatencyP99Us,
  LatencyP999Us,
  // How far the figures can be trusted.
  ClientCpuPercent,   ///< near 100: the client was the bottleneck, not the server
  ServerWaitPercent,  ///< the server was ready to run but another program ran
  KsoftirqdPercent,   ///< network work on the server's CPU that no process was charged for
  StealPercent,       ///< of the machine: time that the hypervisor gave to others
};
inline constexpr std::size_t metric_count = static_cast<std::size_t>(Metric::StealPercent) + 1;

enum class Better : std::uint8_t { Lower, Higher, Neither };

struct MetricInfo {
  Metric metric;
  std::string_view name;   ///< in JSON and CSV: "cpu_ms_per_gbit"
  std::string_view title;  ///< for people: "CPU per Gbit"
  std::string_view unit;   ///< "ms", "Gbit/s", "%", "" for a bare number
  Better better;
  bool judged;  ///< `bench compare` ends with 99 when this got worse
};

/// In the order of the enumerators.
std::span<const MetricInfo> metrics();
const MetricInfo& info(Metric metric);
std::optional<Metric> find_metric(std::string_view name);

}  // namespace pagewire::bench
