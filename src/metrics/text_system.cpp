// What belongs to no worker: the process and the machine. The names process_* are those that every
// Prometheus client library exports, so that dashboards know them.
#include <optional>

#include "metrics/text.h"

namespace pagewire::metrics {

namespace {

void optional_gauge(std::string& text, std::string_view name, std::string_view help,
                    std::optional<double> value) {
  family(text, name, "gauge", help);
  if (value) fmt::format_to(std::back_inserter(text), "{} {}\n", name, *value);
}

std::optional<double> as_double(std::optional<std::uint64_t> value) {
  if (!value) return std::nullopt;
  return static_cast<double>(*value);
}

std::optional<double> as_double(std::optional<ByteCount> value) {
  if (!value) return std::nullopt;
  return static_cast<double>(value->value);
}

void write_process(std::string& text, const sys::ProcessFacts& process) {
  constexpr std::string_view cpu = "process_cpu_seconds_total";
  family(text, cpu, "counter", "CPU time of all threads, helpers and those of io_uring included.");
  fmt::format_to(std::back_inserter(text), "{} {}\n", cpu,
                 static_cast<double>(process.cpu.user_us + process.cpu.system_us) / 1e6);
  optional_gauge(text, "process_start_time_seconds", "When it started, since 1970.",
                 process.started_at_s);
  optional_gauge(text, "process_resident_memory_bytes", "Memory of the process that is in RAM.",
                 as_double(process.resident));
  optional_gauge(text, "process_open_fds", "Descriptors open now.",
                 as_double(process.open_descriptors));
  optional_gauge(text, "process_max_fds", "Descriptors that it may have (RLIMIT_NOFILE).",
                 as_double(process.most_descriptors));
  optional_gauge(text, "pagewire_process_pinned_bytes",
                 "Memory of the process that the kernel may not move: buffers of io_uring.",
                 as_double(process.pinned));
}

void write_host(std::string& text, const SystemFacts& system) {
  constexpr std::string_view sent = "pagewire_host_tcp_sent_segments_total";
  family(text, sent, "counter",
         "TCP segments that everybody in this network namespace has sent; without those below.");
  if (system.tcp) sample(text, sent, system.tcp->sent_segments);
  constexpr std::string_view again = "pagewire_host_tcp_retransmitted_segments_total";
  family(text, again, "counter", "TCP segments that they have sent again.");
  if (system.tcp) sample(text, again, system.tcp->retransmitted_segments);
  constexpr std::string_view tls = "pagewire_host_tls_sockets";
  family(text, tls, "gauge",
         "Sockets of everybody that are encrypted below the program now, by whom; nothing where "
         "the kernel's tls module is not loaded.");
  if (!system.tls) return;
  fmt::format_to(std::back_inserter(text), "{0}{{by=\"kernel\"}} {1}\n{0}{{by=\"card\"}} {2}\n",
                 tls, system.tls->by_kernel, system.tls->by_card);
}

}  // namespace

SystemFacts ask_system() {
  return {.process = sys::process_facts(), .tcp = sys::host_tcp(), .tls = sys::host_tls()};
}

std::string system_text(const SystemFacts& system) {
  std::string text;
  write_process(text, system.process);
  write_host(text, system);
  return text;
}

}  // namespace pagewire::metrics
