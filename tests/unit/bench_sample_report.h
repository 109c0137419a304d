// Reports as a bench would make them, with everything that a renderer has to cope with: figures
// that are missing, contenders that could not be run, rounds that failed, ranges, break-evens,
// names that mean something to CSV, HTML, Markdown or a terminal. The figures are made up.
#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "bench/report.h"

namespace pagewire::bench::sample {

struct Path {
  std::string name;
  double gbit_per_s = 0;
  double ms_per_gbit = 0;
  double copies = 0;
};

inline const std::vector<Path>& paths() {
  static const std::vector<Path> all{{"copy", 18.4, 41.7, 2.0},
                                     {"sendfile", 45.2, 14.3, 0.0},
                                     {"splice", 38.9, 17.2, 0.0},
                                     {"mmap", 21.0, 39.9, 1.0}};
  return all;
}

inline Environment environment() {
  Environment environment;
  environment.date = "2026-11-22T21:20:57Z";
  environment.pagewire_version = "0.1.0";
  environment.command_line = {"pagewire", "bench", "run", "--path", "all", "--size", "256M"};
  environment.kernel = "6.18.0";
  environment.cpu_model = "AMD EPYC";
  environment.cpus = 2;
  environment.virtual_machine = true;
  environment.clock_source = "tsc";
  environment.irq_time_accounting = "n";
  environment.irq_time_meaning = "softirq time is charged to whoever was interrupted";
  environment.tsc_mhz = 2794.75;
  environment.hardware_counters = "perf_event_open: No such file or directory";
  environment.filesystem = "ext4 on /dev/vda";
  environment.network = "loopback";
  environment.load_average = 0.31;
  environment.notes = {
      "loopback: MSG_ZEROCOPY is copied, and a third of the sender's CPU is the receiver's "
      "softirq"};
  return environment;
}

/// A few percent up and down, the same in every program.
inline double swing(std::size_t seed) {
  return 1.0 + 0.015 * (static_cast<double>((seed * 7919) % 11) - 5) / 5;
}

inline void add_missing(Round& round, std::initializer_list<Metric> which, const char* reason) {
  for (const Metric metric : which) round.figures[metric] = Figure::missing(reason);
}

inline void add_bill(Round& round, const Path& path, double factor) {
  const double percent = path.gbit_per_s * path.ms_per_gbit / 10;
  const auto measured = [&round, factor](Metric metric, double value) {
    round.figures[metric] = Figure::of(value * factor, Source::Measured);
  };
  measured(Metric::ThroughputGbitPerS, path.gbit_per_s);
  measured(Metric::CpuPercent, percent);
  measured(Metric::CpuUserPercent, percent * 0.03);
  measured(Metric::CpuSystemPercent, percent * 0.97);
  measured(Metric::CpuSoftirqPercent, percent * 0.31);
  measured(Metric::CpuMsPerGbit, path.ms_per_gbit);
  measured(Metric::VoluntarySwitchesPerS, 1234.5);
  measured(Metric::InvoluntarySwitchesPerS, 17.25);
  measured(Metric::ServerWaitPercent, 0.4);
  measured(Metric::ClientCpuPercent, 31);
  round.figures[Metric::MinorFaults] = Figure::of(3, Source::Measured);
  round.figures[Metric::MajorFaults] = Figure::of(0, Source::Measured);
  round.figures[Metric::Retransmits] = Figure::of(0, Source::Measured);
  round.figures[Metric::KsoftirqdPercent] = Figure::of(0, Source::Measured);
  measured(Metric::StealPercent, 0.7);
  measured(Metric::ReceiverLimitedPercent, 12);
  measured(Metric::SendBufferLimitedPercent, 61);
  round.figures[Metric::CyclesPerGbit] =
      Figure::of(path.ms_per_gbit * factor * 2.79475e6, Source::Modelled);
  round.figures[Metric::ServiceDemandUsPerKib] =
      Figure::of(path.ms_per_gbit * factor * 0.008192, Source::Measured);
  round.figures[Metric::CopiedBytes] = Figure::of(path.copies * 5.3e9, Source::Counted);
  round.figures[Metric::CopiesPerByte] = Figure::of(path.copies, Source::Counted);
  round.figures[Metric::MemoryTrafficPerByte] =
      Figure::modelled({1 + path.copies, 1 + 3 * path.copies});
  add_missing(round, {Metric::LlcMissesPerGbit}, "perf_event_open: No such file or directory");
}

inline void add_trace(Round& round, const Path& path) {
  if (!round.instrumented) {
    add_missing(round, {Metric::SyscallsPerS, Metric::BytesPerSyscall, Metric::CopySharePercent},
                "only in the instrumented round");
    return;
  }
  round.figures[Metric::SyscallsPerS] = Figure::of(12345, Source::Measured);
  round.figures[Metric::BytesPerSyscall] = Figure::of(524288, Source::Counted);
  round.figures[Metric::CopySharePercent] = Figure::of(path.copies * 22.5, Source::Measured);
}

inline void add_latencies(Round& round, const Path& path, double factor, bool is_request) {
  if (!is_request) {
    add_missing(round,
                {Metric::RequestsPerS, Metric::CpuUsPerRequest, Metric::LatencyP50Us,
                 Metric::LatencyP90Us, Metric::LatencyP99Us, Metric::LatencyP999Us},
                "request mode only");
    return;
  }
  const double p50 = path.ms_per_gbit * 20 * factor;
  round.figures[Metric::RequestsPerS] = Figure::of(15250 * factor, Source::Counted);
  round.figures[Metric::CpuUsPerRequest] = Figure::of(path.ms_per_gbit * factor, Source::Measured);
  round.figures[Metric::LatencyP50Us] = Figure::of(p50, Source::Measured);
  round.figures[Metric::LatencyP90Us] = Figure::of(p50 * 1.6, Source::Measured);
  round.figures[Metric::LatencyP99Us] = Figure::of(p50 * 4.1, Source::Measured);
  round.figures[Metric::LatencyP999Us] = Figure::of(p50 * 19, Source::Measured);
}

struct RowShape {
  std::string title = "256 MiB x 4, stream";
  std::uint64_t size_bytes = 268435456;
  bool is_request = false;
  std::size_t repeat = 5;
};

/// Interleaved rounds of every path; the last of each is instrumented.
inline Row row_of(const std::vector<Path>& of, const RowShape& shape) {
  Row row;
  row.title = shape.title;
  row.size_bytes = shape.size_bytes;
  row.connections = 4;
  row.mode = shape.is_request ? "request" : "stream";
  row.baseline = of.front().name;
  for (std::size_t i = 0; i < of.size(); ++i) {
    Contender contender;
    contender.name = of[i].name;
    contender.verified_bytes = shape.size_bytes;
    for (std::size_t turn = 0; turn <= shape.repeat; ++turn) {
      Round round;
      round.number = 1 + turn * of.size() + i;
      round.instrumented = turn == shape.repeat;
      round.seconds = 3.0004;
      const double factor = swing(round.number);
      add_bill(round, of[i], factor);
      add_trace(round, of[i]);
      add_latencies(round, of[i], factor, shape.is_request);
      contender.rounds.push_back(round);
    }
    row.contenders.push_back(contender);
  }
  return row;
}

inline Report report_of(std::string kind, std::string title, std::vector<Row> rows) {
  Report report;
  report.kind = std::move(kind);
  report.title = std::move(title);
  report.environment = environment();
  report.settings = {{"--path", "all"}, {"--size", "256M"}, {"-t", "3"}, {"--repeat", "5"}};
  report.rows = std::move(rows);
  summarise(report);
  return report;
}

/// Streams; one path that cannot be run, one round that failed.
inline Report run() {
  Row row = row_of(paths(), {});
  Contender absent;
  absent.name = "zerocopy";
  absent.unavailable = "setsockopt SO_ZEROCOPY: Operation not supported";
  row.contenders.push_back(absent);
  Round& failed = row.contenders[3].rounds[2];
  failed.failed = "the file shrank while it was sent";
  failed.figures.clear();
  Report report = report_of("run", "256 MiB by every path", {row});
  report.remarks = {"the client used 31% of a core: the server was the bottleneck"};
  return report;
}

/// Requests at an offered load: latencies.
inline Report requests() {
  Row row = row_of(
      paths(),
      {.title = "400 KiB x 4, request", .size_bytes = 409600, .is_request = true, .repeat = 3});
  row.offered_gbit_per_s = 10;
  Row small = row_of(
      paths(),
      {.title = "16 KiB x 4, request", .size_bytes = 16384, .is_request = true, .repeat = 3});
  small.offered_gbit_per_s = 10;
  return report_of("run", "requests at 10 Gbit/s", {row, small});
}

/// `sizes` sizes from 1 KiB on, doubling; copy is cheaper below 16 KiB.
inline Report sweep(std::size_t sizes = 9) {
  std::vector<Row> rows;
  for (std::size_t i = 0; i < sizes; ++i) {
    const std::uint64_t size = std::uint64_t{1024} << i;
    const double per_call = 800.0 / static_cast<double>(std::uint64_t{1} << i);
    std::vector<Path> at_size = paths();
    at_size[0].ms_per_gbit = 41 + per_call;
    at_size[1].ms_per_gbit = 14 + per_call * 1.4;
    at_size[2].ms_per_gbit = 17 + per_call * 2.1;
    at_size[3].ms_per_gbit = 44 + per_call * 1.9;
    for (Path& path : at_size) path.gbit_per_s = 800 / path.ms_per_gbit;
    rows.push_back(row_of(at_size, {.title = std::to_string(size / 1024) + " KiB x 4, request",
                                    .size_bytes = size,
                                    .is_request = true,
                                    .repeat = 3}));
  }
  Report report = report_of("sweep", "1 KiB and more by every path", std::move(rows));
  report.break_evens = {{"sendfile", 12150.0, Bounds{8192, 16384}, ""},
                        {"splice", 38000.0, Bounds{32768, 65536}, ""},
                        {"mmap", {}, {}, "dearer at every size"}};
  return report;
}

/// `count` contenders with long names, more than there are colours.
inline Report crowd(std::size_t count = 10) {
  std::vector<Path> many;
  for (std::size_t i = 0; i < count; ++i) {
    const double cost = 41.7 / (1 + 0.3 * static_cast<double>(i));
    many.push_back({i == 0 ? "copy" : "server-with-a-long-name-" + std::to_string(i) + "-1.22.1",
                    800 / cost, cost, i == 0 ? 2.0 : 0.0});
  }
  return report_of("peers", "many beside each other", {row_of(many, {})});
}

/// What means something to CSV, HTML, Markdown, XML or a terminal, in every place that takes text.
inline const std::string& awkward_text() {
  static const std::string text =
      "a<b & \"c\", 'd' | `e` \n</script><!-- \xc3\xa9\xe2\x82\xac \x1b[31m]]> {} %s \\";
  return text;
}

inline Report awkward() {
  const std::string& text = awkward_text();
  std::vector<Path> of = paths();
  of[1].name = text;
  Row row = row_of(of, {.title = text, .size_bytes = 1, .is_request = false, .repeat = 2});
  row.contenders[2].rounds[0].failed = text;
  row.contenders[2].rounds[0].figures[Metric::CopiedBytes] = Figure::missing(text);
  row.contenders[3].rounds.clear();
  row.contenders[3].unavailable = text;
  Report report = report_of("run", text, {row});
  report.environment.notes = {text};
  report.environment.kernel = text;
  report.environment.offloads = {text};
  report.environment.command_line = {"pagewire", text};
  report.settings = {{"--file", text}, {text, "1"}};
  report.remarks = {text, ""};
  report.partial = true;
  report.partial_reason = "interrupted (Ctrl-C) in round 3 of 5: " + text;
  return report;
}

/// Stopped before the first round; the environment could not be read.
inline Report nothing() {
  Report report;
  report.kind = "run";
  report.partial = true;
  report.partial_reason = "interrupted (Ctrl-C) before the first round";
  return report;
}

}  // namespace pagewire::bench::sample
