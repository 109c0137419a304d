// Instruments of meter.h: perf events on the server's one thread.
//
// A tracepoint or a sampler costs the server some CPU for each event, which is why they run in a
// round that is not billed. The tracepoint sends every system call of the machine through the
// kernel's slower entry while it is on, whichever process it counts.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "bench/meter.h"
#include "sys/copy_functions.h"
#include "sys/kallsyms.h"
#include "sys/perf.h"
#include "sys/tracepoint.h"

namespace pagewire::bench {

namespace {

using sys::PerfEvent;

// Not a divisor of a tick's length: samples must not march in step with it.
constexpr std::uint64_t sample_period_ns = 499'979;
constexpr std::string_view not_traced = "only measured in the instrumented round";

// An event, or why there is none.
template <class T>
struct Part {
  std::optional<T> event;
  std::string reason;

  void fail(std::string why) {
    event.reset();
    reason = std::move(why);
  }
};

struct Counter : Part<sys::PerfCounter> {
  PerfEvent kind = PerfEvent::Cycles;
  std::optional<sys::CounterReading> reading;  // of the window, once it has closed

  void begin();
  void end();
  Figure figure() const;
};

struct Sampler : Part<sys::CpuSampler> {
  std::optional<sys::KernelSymbols> symbols;
  std::vector<sys::CpuSample> samples;
  bool closed = false;

  void begin();
  void drain();
  void end();
  Figure copy_share_percent() const;
  bool is_copying(const sys::CpuSample& sample) const;
};

Counter open_counter(PerfEvent kind, pid_t pid) {
  Counter counter;
  counter.kind = kind;
  Result<sys::PerfCounter> event = sys::PerfCounter::open(kind, pid);
  if (event) {
    counter.event = std::move(*event);
  } else {
    counter.reason = sys::reason_for(kind, event.error());
  }
  return counter;
}

Counter open_syscalls(pid_t pid) {
  Counter counter;
  counter.kind = PerfEvent::Tracepoint;
  const Result<std::uint64_t> id = sys::id_of({.system = "raw_syscalls", .name = "sys_enter"});
  if (!id) {
    counter.reason = "the tracepoint raw_syscalls:sys_enter: " + describe(id.error());
    return counter;
  }
  Result<sys::PerfCounter> event = sys::PerfCounter::open_tracepoint(*id, pid);
  if (event) {
    counter.event = std::move(*event);
  } else {
    counter.reason = sys::reason_for(counter.kind, event.error());
  }
  return counter;
}

Sampler open_sampler(pid_t pid) {
  Sampler sampler;
  Result<sys::KernelSymbols> symbols = sys::KernelSymbols::load();
  if (!symbols) {
    // EACCES: kptr_restrict, or perf_event_paranoid above 1. ENOENT: no CONFIG_KALLSYMS.
    sampler.reason = symbols.error().errno_value == EACCES
                         ? "the addresses in /proc/kallsyms are hidden from us: needs CAP_SYSLOG"
                         : "/proc/kallsyms: " + describe(symbols.error());
    return sampler;
  }
  Result<sys::CpuSampler> event = sys::CpuSampler::open(pid, {.period_ns = sample_period_ns});
  if (!event) {
    sampler.reason = sys::reason_for(PerfEvent::CpuClock, event.error());
    return sampler;
  }
  sampler.symbols = std::move(*symbols);
  sampler.event = std::move(*event);
  return sampler;
}

}  // namespace

struct Instruments::Parts {
  Counter cycles;
  Counter llc_load_misses;
  Counter syscalls;
  Sampler sampler;
};

Instruments Instruments::open(pid_t pid, Kind kind) {
  auto parts = std::make_unique<Parts>();
  parts->cycles = open_counter(PerfEvent::Cycles, pid);
  parts->llc_load_misses = open_counter(PerfEvent::LlcLoadMisses, pid);
  switch (kind) {
    case Kind::Counters:
      parts->syscalls.reason = not_traced;
      parts->sampler.reason = not_traced;
      break;
    case Kind::Tracing:
      parts->syscalls = open_syscalls(pid);
      parts->sampler = open_sampler(pid);
      break;
  }
  return Instruments(std::move(parts));
}

Instruments::Instruments(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Instruments::Instruments(Instruments&&) noexcept = default;
Instruments& Instruments::operator=(Instruments&&) noexcept = default;
Instruments::~Instruments() = default;

void Instruments::begin() {
  parts_->sampler.begin();
  parts_->syscalls.begin();
  parts_->llc_load_misses.begin();
  parts_->cycles.begin();
}

void Instruments::drain() {
  parts_->sampler.drain();
}

void Instruments::end() {
  parts_->cycles.end();
  parts_->llc_load_misses.end();
  parts_->syscalls.end();
  parts_->sampler.end();
}

Figure Instruments::cycles() const {
  return parts_->cycles.figure();
}
Figure Instruments::llc_load_misses() const {
  return parts_->llc_load_misses.figure();
}
Figure Instruments::syscalls() const {
  return parts_->syscalls.figure();
}
Figure Instruments::copy_share_percent() const {
  return parts_->sampler.copy_share_percent();
}

namespace {

void Counter::begin() {
  reading.reset();
  if (!event) return;
  const Result<void> started = event->start();
  if (!started) fail(describe(started.error()));
}

void Counter::end() {
  if (!event) return;
  const Result<void> stopped = event->stop();
  const Result<sys::CounterReading> result = event->read();
  if (!stopped) return fail(describe(stopped.error()));
  if (!result) return fail(describe(result.error()));
  reading = *result;
}

Figure Counter::figure() const {
  if (!event) return Figure::missing(reason);
  if (!reading) return Figure::missing("the window was not closed");
  const auto count = static_cast<double>(reading->count);
  if (kind == PerfEvent::Tracepoint) return Figure::of(count, Source::Measured);
  if (reading->enabled_ns == 0) return Figure::missing("the server did not run in the window");
  if (reading->running_ns == 0) {
    return Figure::missing("the PMU had no register to spare: other events held them all");
  }
  if (reading->running_ns == reading->enabled_ns) return Figure::of(count, Source::Measured);
  // The register was shared by turns: what was seen is taken for the whole.
  const double part =
      static_cast<double>(reading->running_ns) / static_cast<double>(reading->enabled_ns);
  return Figure::of(count / part, Source::Modelled);
}

void Sampler::begin() {
  closed = false;
  samples.clear();
  if (!event) return;
  const Result<void> started = event->start();
  if (!started) fail(describe(started.error()));
}

void Sampler::drain() {
  if (event) event->drain(samples);
}

void Sampler::end() {
  if (!event) return;
  const Result<void> stopped = event->stop();
  if (!stopped) return fail(describe(stopped.error()));
  event->drain(samples);
  closed = true;
}

Figure Sampler::copy_share_percent() const {
  if (!event) return Figure::missing(reason);
  if (!closed) return Figure::missing("the window was not closed");
  const auto lost = static_cast<double>(event->lost());
  const auto taken = static_cast<double>(samples.size());
  if (taken == 0 && lost == 0) {
    return Figure::missing("no sample: the server hardly ran in the window");
  }
  // A few that are lost are lost at random; many are those of the busiest moments.
  constexpr double most_lost = 0.1;
  if (lost > most_lost * (lost + taken)) {
    return Figure::missing(
        fmt::format("{} of {} samples were lost or throttled", lost, lost + taken));
  }
  const auto copying = std::ranges::count_if(
      samples, [this](const sys::CpuSample& sample) { return is_copying(sample); });
  return Figure::of(100 * static_cast<double>(copying) / taken, Source::Measured);
}

bool Sampler::is_copying(const sys::CpuSample& sample) const {
  if (!sample.in_kernel) return false;
  const std::optional<sys::KernelFunction> function = symbols->find(sample.address);
  return function && sys::is_copy_function(function->name);
}

}  // namespace

}  // namespace pagewire::bench
