// figures_of: arithmetic alone, so that it is tested as a table.
//
// A figure's source is that of what it costs: measured CPU time divided by bytes that were counted
// stays measured, since dividing assumes nothing. Modelled is what rests on an assumption.
// What is divided by bytes is divided by those that the client received.
#include "bench/figures.h"

#include <array>
#include <utility>

namespace pagewire::bench {

namespace {

constexpr double bits_per_byte = 8;
constexpr double bits_per_gbit = 1e9;
constexpr double ns_per_s = 1e9;
constexpr double kib_bytes = 1024;

constexpr const char* no_length = "the window has no length";
constexpr const char* no_bytes = "nothing was received in the window";
constexpr const char* no_requests = "stream mode has no requests";
constexpr const char* no_answer = "no answer was complete in the window";
constexpr const char* thread_ended = "a thread of the server ended in the window";
constexpr const char* not_pinned = "the server is not pinned to a CPU";

/// How much a count grew from one sample to the next.
template <class Sample, class Number>
double growth(const Sample& opened, const Sample& closed, Number Sample::*count) {
  return static_cast<double>(closed.*count) - static_cast<double>(opened.*count);
}

/// The same of a count that only grows: less than before means that something took it along.
template <class Sample>
Figure growth_or(const char* reason, const Sample& opened, const Sample& closed,
                 std::uint64_t Sample::*count) {
  const double grown = growth(opened, closed, count);
  if (grown < 0) return Figure::missing(reason);
  return Figure::of(grown, Source::Measured);
}

double seconds_between(std::int64_t opened_ns, std::int64_t closed_ns) {
  return static_cast<double>(closed_ns - opened_ns) / ns_per_s;
}

/// The window in the units of the bill; every rate over the interval of its own sample.
struct Rates {
  double client_s = 0;
  double server_s = 0;
  double meter_s = 0;
  double gbit_per_s = 0;
  double answers_per_s = 0;
  double cpu_s_per_s = 0;  // of the server's process
};

Rates rates_of(const Window& window) {
  const Moment& a = window.opened;
  const Moment& b = window.closed;
  Rates rates;
  rates.client_s = seconds_between(a.client.at_ns, b.client.at_ns);
  rates.server_s = seconds_between(a.server.at_ns, b.server.at_ns);
  rates.meter_s = seconds_between(a.meter.at_ns, b.meter.at_ns);
  const double received = growth(a.client, b.client, &ClientSample::received_bytes);
  const double answers = growth(a.client, b.client, &ClientSample::answers);
  const double run_ns = growth(a.meter, b.meter, &MeterSample::run_ns);
  rates.gbit_per_s = received * bits_per_byte / bits_per_gbit / rates.client_s;
  rates.answers_per_s = answers / rates.client_s;
  rates.cpu_s_per_s = run_ns / ns_per_s / rates.meter_s;
  return rates;
}

using Figures = std::map<Metric, Figure>;

void add_amounts(const Window& window, const Rates& rates, Figures& figures) {
  figures[Metric::ThroughputGbitPerS] = Figure::of(rates.gbit_per_s, Source::Counted);
  figures[Metric::RequestsPerS] = window.mode == Mode::Request
                                      ? Figure::of(rates.answers_per_s, Source::Counted)
                                      : Figure::missing(no_requests);
}

// The ticks give the proportion, the CPU clock the amount.
void add_user_and_system(const Window& window, const Rates& rates, Figures& figures) {
  const double user = growth(window.opened.meter, window.closed.meter, &MeterSample::user_s);
  const double system = growth(window.opened.meter, window.closed.meter, &MeterSample::system_s);
  const double ticked_s = user + system;
  Figure& user_figure = figures[Metric::CpuUserPercent];
  Figure& system_figure = figures[Metric::CpuSystemPercent];
  if (ticked_s > 0) {
    const double per_tick = 100 * rates.cpu_s_per_s / ticked_s;
    user_figure = Figure::of(per_tick * user, Source::Measured);
    system_figure = Figure::of(per_tick * system, Source::Measured);
  } else if (rates.cpu_s_per_s == 0) {
    user_figure = system_figure = Figure::of(0, Source::Measured);
  } else {
    user_figure = system_figure =
        Figure::missing("less CPU time than the kernel's unit of counting, a tick");
  }
}

// All of the server's CPU, whoever was charged: needs to know which CPU that is.
void add_softirq(const Window& window, const Rates& rates, Figures& figures) {
  const MeterSample& a = window.opened.meter;
  const MeterSample& b = window.closed.meter;
  figures[Metric::CpuSoftirqPercent] =
      a.softirq_s && b.softirq_s
          ? Figure::of(100 * (*b.softirq_s - *a.softirq_s) / rates.meter_s, Source::Measured)
          : Figure::missing(not_pinned);
  Figure& ksoftirqd = figures[Metric::KsoftirqdPercent];
  if (a.ksoftirqd_ns && b.ksoftirqd_ns) {
    const auto ran_ns = static_cast<double>(*b.ksoftirqd_ns - *a.ksoftirqd_ns);
    ksoftirqd = Figure::of(100 * ran_ns / ns_per_s / rates.meter_s, Source::Measured);
  } else {
    ksoftirqd =
        Figure::missing(a.softirq_s ? "the kernel's threads cannot be seen from here" : not_pinned);
  }
}

void add_cpu(const Window& window, const Rates& rates, Figures& figures) {
  figures[Metric::CpuPercent] = Figure::of(100 * rates.cpu_s_per_s, Source::Measured);
  add_user_and_system(window, rates, figures);
  add_softirq(window, rates, figures);
}

/// `figure` of the window, as a rate for each unit of what was moved.
Figure per_unit(const Figure& figure, const Rates& rates, double units_per_s) {
  if (!figure.value) return figure;
  return Figure::of(*figure.value / rates.meter_s / units_per_s, figure.source);
}

Figure cycles_of(const Window& window, const Rates& rates) {
  if (window.counts.cycles.value || !window.tsc_hz) return window.counts.cycles;
  return Figure::of(rates.cpu_s_per_s * rates.meter_s * *window.tsc_hz, Source::Modelled);
}

void add_bill(const Window& window, const Rates& rates, Figures& figures) {
  Figure& per_request = figures[Metric::CpuUsPerRequest];
  if (window.mode == Mode::Stream) {
    per_request = Figure::missing(no_requests);
  } else if (rates.answers_per_s > 0) {
    per_request = Figure::of(rates.cpu_s_per_s * 1e6 / rates.answers_per_s, Source::Measured);
  } else {
    per_request = Figure::missing(no_answer);
  }
  if (!(rates.gbit_per_s > 0)) {
    for (const Metric metric : {Metric::CpuMsPerGbit, Metric::CyclesPerGbit,
                                Metric::ServiceDemandUsPerKib, Metric::LlcMissesPerGbit}) {
      figures[metric] = Figure::missing(no_bytes);
    }
    return;
  }
  const double kib_per_s = rates.gbit_per_s * bits_per_gbit / bits_per_byte / kib_bytes;
  figures[Metric::CpuMsPerGbit] =
      Figure::of(rates.cpu_s_per_s * 1e3 / rates.gbit_per_s, Source::Measured);
  figures[Metric::ServiceDemandUsPerKib] =
      Figure::of(rates.cpu_s_per_s * 1e6 / kib_per_s, Source::Measured);
  figures[Metric::CyclesPerGbit] = per_unit(cycles_of(window, rates), rates, rates.gbit_per_s);
  figures[Metric::LlcMissesPerGbit] =
      per_unit(window.counts.llc_load_misses, rates, rates.gbit_per_s);
}

void add_kernel_work(const Window& window, const Rates& rates, Figures& figures) {
  const MeterSample& a = window.opened.meter;
  const MeterSample& b = window.closed.meter;
  const auto of_process = [&](std::uint64_t MeterSample::*count) {
    return growth_or(thread_ended, a, b, count);
  };
  figures[Metric::VoluntarySwitchesPerS] =
      per_unit(of_process(&MeterSample::voluntary_switches), rates, 1);
  figures[Metric::InvoluntarySwitchesPerS] =
      per_unit(of_process(&MeterSample::involuntary_switches), rates, 1);
  figures[Metric::MinorFaults] = of_process(&MeterSample::minor_faults);
  figures[Metric::MajorFaults] = of_process(&MeterSample::major_faults);

  const Figure& syscalls = window.counts.syscalls;
  figures[Metric::SyscallsPerS] = per_unit(syscalls, rates, 1);
  Figure& bytes_per_syscall = figures[Metric::BytesPerSyscall];
  const double sent = growth(window.opened.server, window.closed.server, &ServerSample::sent_bytes);
  if (!syscalls.value) {
    bytes_per_syscall = syscalls;
  } else if (*syscalls.value > 0 && rates.server_s > 0) {
    const double calls_per_s = *syscalls.value / rates.meter_s;
    bytes_per_syscall = Figure::of(sent / rates.server_s / calls_per_s, syscalls.source);
  } else {
    bytes_per_syscall = Figure::missing("no system call in the window");
  }
  figures[Metric::CopySharePercent] = window.counts.copy_share_percent;
}

// Each copied byte is read from memory at least, when what is written stays in the cache until the
// card or the receiver has taken it; at most it is read, the line that it is written to is read
// too, and is written back. What DMA moves on top is the same for every path.
constexpr Bounds traffic_per_copied_byte{.low = 1, .high = 3};

void add_copies(const Window& window, Figures& figures) {
  const ServerSample& a = window.opened.server;
  const ServerSample& b = window.closed.server;
  const double sent = growth(a, b, &ServerSample::sent_bytes);
  const double copied = growth(a, b, &ServerSample::copied_bytes);
  figures[Metric::CopiedBytes] = Figure::of(copied, Source::Counted);
  if (!(sent > 0)) {
    figures[Metric::CopiesPerByte] = Figure::missing("nothing was sent in the window");
    figures[Metric::MemoryTrafficPerByte] = figures[Metric::CopiesPerByte];
    return;
  }
  const double copies = copied / sent;
  figures[Metric::CopiesPerByte] = Figure::of(copies, Source::Counted);
  figures[Metric::MemoryTrafficPerByte] = Figure::modelled(
      {.low = copies * traffic_per_copied_byte.low, .high = copies * traffic_per_copied_byte.high});
}

void add_tcp(const Window& window, Figures& figures) {
  const TcpSample& a = window.opened.server.tcp;
  const TcpSample& b = window.closed.server.tcp;
  constexpr const char* connection_ended =
      "a connection ended in the window, and its TCP_INFO with it";
  figures[Metric::Retransmits] = growth_or(connection_ended, a, b, &TcpSample::retransmits);
  const double busy_us = growth(a, b, &TcpSample::busy_us);
  const auto share_of_busy = [&](std::uint64_t TcpSample::*limited) {
    const double limited_us = growth(a, b, limited);
    if (busy_us < 0 || limited_us < 0) return Figure::missing(connection_ended);
    if (busy_us == 0) return Figure::missing("TCP had nothing to send in the window");
    return Figure::of(100 * limited_us / busy_us, Source::Measured);
  };
  figures[Metric::ReceiverLimitedPercent] = share_of_busy(&TcpSample::receiver_limited_us);
  figures[Metric::SendBufferLimitedPercent] = share_of_busy(&TcpSample::send_buffer_limited_us);
}

void add_latency(const Window& window, Figures& figures) {
  constexpr std::array quantiles{Metric::LatencyP50Us, Metric::LatencyP90Us, Metric::LatencyP99Us,
                                 Metric::LatencyP999Us};
  for (std::size_t i = 0; i < quantiles.size(); ++i) {
    Figure& figure = figures[quantiles[i]];
    if (window.mode == Mode::Stream) {
      figure = Figure::missing(no_requests);
    } else if (!window.closed.client.latency_us) {
      figure = Figure::missing(no_answer);
    } else {
      figure = Figure::of((*window.closed.client.latency_us)[i], Source::Measured);
    }
  }
}

void add_trust(const Window& window, const Rates& rates, Figures& figures) {
  const double client_ns =
      growth(window.opened.client, window.closed.client, &ClientSample::cpu_ns);
  figures[Metric::ClientCpuPercent] =
      Figure::of(100 * client_ns / ns_per_s / rates.client_s, Source::Measured);
  const MeterSample& a = window.opened.meter;
  const MeterSample& b = window.closed.meter;
  const double wait_ns = growth(a, b, &MeterSample::wait_ns);
  figures[Metric::ServerWaitPercent] =
      wait_ns < 0 ? Figure::missing(thread_ended)
                  : Figure::of(100 * wait_ns / ns_per_s / rates.meter_s, Source::Measured);
  const double machine_s = growth(a, b, &MeterSample::machine_s);
  const double steal_s = growth(a, b, &MeterSample::steal_s);
  figures[Metric::StealPercent] = machine_s > 0
                                      ? Figure::of(100 * steal_s / machine_s, Source::Measured)
                                      : Figure::missing("no tick of the machine in the window");
}

}  // namespace

std::map<Metric, Figure> figures_of(const Window& window) {
  Figures figures;
  const Rates rates = rates_of(window);
  if (!(rates.client_s > 0) || !(rates.server_s > 0) || !(rates.meter_s > 0)) {
    for (const MetricInfo& metric : metrics()) {
      figures[metric.metric] = Figure::missing(no_length);
    }
    return figures;
  }
  add_amounts(window, rates, figures);
  add_cpu(window, rates, figures);
  add_bill(window, rates, figures);
  add_kernel_work(window, rates, figures);
  add_copies(window, figures);
  add_tcp(window, figures);
  add_latency(window, figures);
  add_trust(window, rates, figures);
  // Counts that the caller left as they were made.
  for (auto& [metric, figure] : figures) {
    if (!figure.value && figure.reason.empty()) figure.reason = "not measured in this round";
  }
  return figures;
}

}  // namespace pagewire::bench
