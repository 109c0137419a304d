// figures_of, against a window that was worked out by hand.
#include "bench/figures.h"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace pagewire::bench {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;

/// Two seconds in which 5 GB arrived in 5000 answers for one second of CPU: 40 Gbit, 20 Gbit/s.
/// None of the counts starts at zero, and the three clocks do not stop together.
Window worked_out(Mode mode) {
  Window window;
  window.mode = mode;
  window.tsc_hz = 2e9;
  window.opened.meter = {.at_ns = 100 * second_ns,
                         .run_ns = 7 * second_ns,
                         .wait_ns = 1 * second_ns,
                         .user_s = 1,
                         .system_s = 3,
                         .voluntary_switches = 10,
                         .involuntary_switches = 20,
                         .minor_faults = 30,
                         .major_faults = 40,
                         .softirq_s = 5,
                         .ksoftirqd_ns = 50,
                         .steal_s = 60,
                         .machine_s = 1000};
  window.closed.meter = {.at_ns = 102 * second_ns,
                         .run_ns = 8 * second_ns,
                         .wait_ns = 1 * second_ns + second_ns / 2,
                         .user_s = 1.2,
                         .system_s = 3.6,
                         .voluntary_switches = 1010,
                         .involuntary_switches = 220,
                         .minor_faults = 33,
                         .major_faults = 41,
                         .softirq_s = 5.5,
                         .ksoftirqd_ns = 50 + second_ns / 10,
                         .steal_s = 60.2,
                         .machine_s = 1004};
  window.opened.server = {.at_ns = 200 * second_ns,
                          .sent_bytes = 1'000,
                          .copied_bytes = 2'000,
                          .answers = 1,
                          .tcp = {.retransmits = 3,
                                  .busy_us = 1'000'000,
                                  .receiver_limited_us = 500'000,
                                  .send_buffer_limited_us = 100'000}};
  window.closed.server = {.at_ns = 204 * second_ns,
                          .sent_bytes = 1'000 + 10'000'000'000,
                          .copied_bytes = 2'000 + 15'000'000'000,
                          .answers = 5001,
                          .tcp = {.retransmits = 10,
                                  .busy_us = 3'000'000,
                                  .receiver_limited_us = 1'000'000,
                                  .send_buffer_limited_us = 120'000}};
  window.opened.client = {
      .at_ns = 300 * second_ns, .received_bytes = 77, .answers = 5, .cpu_ns = 1, .latency_us = {}};
  window.closed.client = {.at_ns = 302 * second_ns,
                          .received_bytes = 77 + 5'000'000'000,
                          .answers = 5005,
                          .cpu_ns = 1 + second_ns / 2,
                          .latency_us = std::array<double, 4>{100, 200, 300, 400}};
  window.counts = {.cycles = Figure::of(4e9, Source::Measured),
                   .llc_load_misses = Figure::of(8e6, Source::Modelled),
                   .syscalls = Figure::of(25'000, Source::Measured),
                   .copy_share_percent = Figure::of(12.5, Source::Measured)};
  return window;
}

struct Expected {
  Metric metric;
  double value;
  Source source;
};

TEST(Figures, AreWhatHandAndPaperSay) {
  const std::map<Metric, Figure> figures = figures_of(worked_out(Mode::Request));
  const std::vector<Expected> table{
      {Metric::ThroughputGbitPerS, 20, Source::Counted},
      {Metric::RequestsPerS, 2'500, Source::Counted},
      {Metric::CpuPercent, 50, Source::Measured},
      {Metric::CpuUserPercent, 12.5, Source::Measured},  // a quarter of the ticks
      {Metric::CpuSystemPercent, 37.5, Source::Measured},
      {Metric::CpuSoftirqPercent, 25, Source::Measured},
      {Metric::CpuMsPerGbit, 25, Source::Measured},      // 1 s / 40 Gbit
      {Metric::CpuUsPerRequest, 200, Source::Measured},  // 1 s / 5000
      {Metric::CyclesPerGbit, 1e8, Source::Measured},    // 4e9 / 40
      {Metric::ServiceDemandUsPerKib, 1e6 / (5e9 / 1024), Source::Measured},
      {Metric::SyscallsPerS, 12'500, Source::Measured},
      {Metric::BytesPerSyscall, 200'000, Source::Measured},  // 2.5 GB/s by 12,500/s
      {Metric::VoluntarySwitchesPerS, 500, Source::Measured},
      {Metric::InvoluntarySwitchesPerS, 100, Source::Measured},
      {Metric::MinorFaults, 3, Source::Measured},
      {Metric::MajorFaults, 1, Source::Measured},
      {Metric::CopiedBytes, 15e9, Source::Counted},
      {Metric::CopiesPerByte, 1.5, Source::Counted},
      {Metric::MemoryTrafficPerByte, 3, Source::Modelled},
      {Metric::LlcMissesPerGbit, 2e5, Source::Modelled},  // the PMU was shared
      {Metric::CopySharePercent, 12.5, Source::Measured},
      {Metric::Retransmits, 7, Source::Measured},
      {Metric::ReceiverLimitedPercent, 25, Source::Measured},
      {Metric::SendBufferLimitedPercent, 1, Source::Measured},
      {Metric::LatencyP50Us, 100, Source::Measured},
      {Metric::LatencyP90Us, 200, Source::Measured},
      {Metric::LatencyP99Us, 300, Source::Measured},
      {Metric::LatencyP999Us, 400, Source::Measured},
      {Metric::ClientCpuPercent, 25, Source::Measured},
      {Metric::ServerWaitPercent, 25, Source::Measured},
      {Metric::KsoftirqdPercent, 5, Source::Measured},
      {Metric::StealPercent, 5, Source::Measured},
  };
  EXPECT_EQ(table.size(), metric_count);
  for (const Expected& expected : table) {
    const std::string_view name = info(expected.metric).name;
    ASSERT_TRUE(figures.contains(expected.metric)) << name;
    const Figure& figure = figures.at(expected.metric);
    ASSERT_TRUE(figure.value) << name << ": " << figure.reason;
    EXPECT_NEAR(*figure.value, expected.value, expected.value * 1e-9) << name;
    EXPECT_EQ(figure.source, expected.source) << name;
    EXPECT_EQ(figure.reason, "") << name;
  }
}

TEST(Figures, GiveMemoryTrafficAsARange) {
  const std::map<Metric, Figure> figures = figures_of(worked_out(Mode::Stream));
  const Figure& traffic = figures.at(Metric::MemoryTrafficPerByte);
  ASSERT_TRUE(traffic.range);
  EXPECT_DOUBLE_EQ(traffic.range->low, 1.5);
  EXPECT_DOUBLE_EQ(traffic.range->high, 4.5);
}

TEST(Figures, KnowThatWhatIsNotCopiedMovesNoMemory) {
  Window window = worked_out(Mode::Stream);
  window.closed.server.copied_bytes = window.opened.server.copied_bytes;
  const std::map<Metric, Figure> figures = figures_of(window);
  EXPECT_EQ(figures.at(Metric::CopiedBytes).value, 0);
  EXPECT_EQ(figures.at(Metric::CopiesPerByte).value, 0);
  const Figure& traffic = figures.at(Metric::MemoryTrafficPerByte);
  EXPECT_EQ(traffic.value, 0);
  ASSERT_TRUE(traffic.range);
  EXPECT_EQ(traffic.range->low, 0);
  EXPECT_EQ(traffic.range->high, 0);
}

TEST(Figures, ModelCyclesWhereNoneWereCounted) {
  Window window = worked_out(Mode::Stream);
  window.counts.cycles = Figure::missing("no PMU");
  const Figure modelled = figures_of(window).at(Metric::CyclesPerGbit);
  EXPECT_DOUBLE_EQ(modelled.value.value_or(0), 5e7);  // 1 s x 2 GHz / 40 Gbit
  EXPECT_EQ(modelled.source, Source::Modelled);
  window.tsc_hz.reset();
  const Figure missing = figures_of(window).at(Metric::CyclesPerGbit);
  EXPECT_FALSE(missing.value);
  EXPECT_EQ(missing.reason, "no PMU");
}

/// What is taken away, and what is missing then and why.
struct Missing {
  const char* what;
  Mode mode;
  std::function<void(Window&)> change;
  std::vector<Metric> metrics;
  const char* reason;
};

std::vector<Missing> missing_bytes_and_requests() {
  const std::vector<Metric> per_byte{Metric::CpuMsPerGbit, Metric::CyclesPerGbit,
                                     Metric::ServiceDemandUsPerKib, Metric::LlcMissesPerGbit};
  return {
      {"nothing arrived", Mode::Stream,
       [](Window& w) { w.closed.client.received_bytes = w.opened.client.received_bytes; }, per_byte,
       "nothing was received in the window"},
      {"nothing was sent",
       Mode::Stream,
       [](Window& w) { w.closed.server.sent_bytes = w.opened.server.sent_bytes; },
       {Metric::CopiesPerByte, Metric::MemoryTrafficPerByte},
       "nothing was sent in the window"},
      {"a stream",
       Mode::Stream,
       [](Window&) {},
       {Metric::RequestsPerS, Metric::CpuUsPerRequest, Metric::LatencyP50Us, Metric::LatencyP90Us,
        Metric::LatencyP99Us, Metric::LatencyP999Us},
       "stream mode has no requests"},
      {"no answer",
       Mode::Request,
       [](Window& w) {
         w.closed.client.answers = w.opened.client.answers;
         w.closed.client.latency_us.reset();
       },
       {Metric::CpuUsPerRequest, Metric::LatencyP50Us, Metric::LatencyP999Us},
       "no answer was complete in the window"},
  };
}

std::vector<Missing> missing_from_the_kernel() {
  return {
      {"anywhere",
       Mode::Stream,
       [](Window& w) {
         w.opened.meter.softirq_s = w.closed.meter.softirq_s = {};
         w.opened.meter.ksoftirqd_ns = w.closed.meter.ksoftirqd_ns = {};
       },
       {Metric::CpuSoftirqPercent, Metric::KsoftirqdPercent},
       "the server is not pinned to a CPU"},
      {"a container",
       Mode::Stream,
       [](Window& w) { w.opened.meter.ksoftirqd_ns = w.closed.meter.ksoftirqd_ns = {}; },
       {Metric::KsoftirqdPercent},
       "the kernel's threads cannot be seen from here"},
      {"not traced",
       Mode::Stream,
       [](Window& w) { w.counts.syscalls = w.counts.copy_share_percent = Figure::missing("why"); },
       {Metric::SyscallsPerS, Metric::BytesPerSyscall, Metric::CopySharePercent},
       "why"},
      {"counts as they were made",
       Mode::Stream,
       [](Window& w) {
         w.counts = {};
         w.tsc_hz = {};
       },
       {Metric::SyscallsPerS, Metric::BytesPerSyscall, Metric::CopySharePercent,
        Metric::CyclesPerGbit, Metric::LlcMissesPerGbit},
       "not measured in this round"},
      {"no system call",
       Mode::Stream,
       [](Window& w) { w.counts.syscalls = Figure::of(0, Source::Measured); },
       {Metric::BytesPerSyscall},
       "no system call in the window"},
      {"hardly any CPU",
       Mode::Stream,
       [](Window& w) {
         w.closed.meter.user_s = w.opened.meter.user_s;
         w.closed.meter.system_s = w.opened.meter.system_s;
       },
       {Metric::CpuUserPercent, Metric::CpuSystemPercent},
       "less CPU time than the kernel's unit of counting, a tick"},
      {"a lost connection",
       Mode::Stream,
       [](Window& w) { w.closed.server.tcp = {}; },
       {Metric::Retransmits, Metric::ReceiverLimitedPercent, Metric::SendBufferLimitedPercent},
       "a connection ended in the window, and its TCP_INFO with it"},
      {"an idle connection",
       Mode::Stream,
       [](Window& w) { w.closed.server.tcp = w.opened.server.tcp; },
       {Metric::ReceiverLimitedPercent, Metric::SendBufferLimitedPercent},
       "TCP had nothing to send in the window"},
      {"a lost thread",
       Mode::Stream,
       [](Window& w) {
         w.closed.meter.voluntary_switches = 0;
         w.closed.meter.wait_ns = 0;
       },
       {Metric::VoluntarySwitchesPerS, Metric::ServerWaitPercent},
       "a thread of the server ended in the window"},
      {"no tick",
       Mode::Stream,
       [](Window& w) { w.closed.meter.machine_s = w.opened.meter.machine_s; },
       {Metric::StealPercent},
       "no tick of the machine in the window"},
  };
}

void expect_missing(const Missing& missing) {
  Window window = worked_out(missing.mode);
  missing.change(window);
  const std::map<Metric, Figure> figures = figures_of(window);
  EXPECT_EQ(figures.size(), metric_count) << missing.what;
  for (const Metric metric : missing.metrics) {
    EXPECT_FALSE(figures.at(metric).value) << missing.what << ": " << info(metric).name;
    EXPECT_EQ(figures.at(metric).reason, missing.reason)
        << missing.what << ": " << info(metric).name;
  }
  for (const auto& [metric, figure] : figures) {
    EXPECT_NE(figure.value.has_value(), !figure.reason.empty())
        << missing.what << ": " << info(metric).name;
  }
}

TEST(Figures, SayWhyTheyAreMissing) {
  for (const Missing& missing : missing_bytes_and_requests()) expect_missing(missing);
  for (const Missing& missing : missing_from_the_kernel()) expect_missing(missing);
}

TEST(Figures, AreAllMissingOfAWindowWithoutLength) {
  for (int which = 0; which < 3; ++which) {
    Window window = worked_out(Mode::Request);
    if (which == 0) window.closed.meter.at_ns = window.opened.meter.at_ns;
    if (which == 1) window.closed.server.at_ns = window.opened.server.at_ns - 1;
    if (which == 2) window.closed.client.at_ns = window.opened.client.at_ns;
    const std::map<Metric, Figure> figures = figures_of(window);
    EXPECT_EQ(figures.size(), metric_count);
    for (const auto& [metric, figure] : figures) {
      EXPECT_FALSE(figure.value);
      EXPECT_EQ(figure.reason, "the window has no length") << info(metric).name;
    }
  }
}

TEST(Figures, OfAnIdleServerAreZeroWhereZeroIsTheTruth) {
  Window window = worked_out(Mode::Stream);
  window.closed.meter.run_ns = window.opened.meter.run_ns;
  window.closed.meter.user_s = window.opened.meter.user_s;
  window.closed.meter.system_s = window.opened.meter.system_s;
  const std::map<Metric, Figure> figures = figures_of(window);
  for (const Metric metric :
       {Metric::CpuPercent, Metric::CpuUserPercent, Metric::CpuSystemPercent}) {
    EXPECT_EQ(figures.at(metric).value, 0) << info(metric).name;
  }
}

}  // namespace
}  // namespace pagewire::bench
