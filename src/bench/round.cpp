// Starting the two processes, waiting, and taking a moment at either end of the window.
//
// Invariants: both moments are taken in the same order (events, meter, server, client), so that
// what passes between two samples is the same at both ends; a round is either complete, or failed
// with a reason, or not there at all; a window that was stretched from outside (Ctrl-Z, a machine
// that slept or starved us) is no round, because nobody knows what happened in it.
// Rests on: CLOCK_BOOTTIME (clock_gettime(2)), which goes on while the machine sleeps.
#include "bench/round.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "bench/figures.h"
#include "sys/clock.h"

namespace pagewire::bench {

namespace {

/// A stop is asked for, and faults are looked for, this often. Waking up costs a CPU that the
/// round may need, so not more often than a person notices.
constexpr std::int64_t poll_ms = 40;
/// What the server has found wrong is on its way when the client loses its connections.
constexpr std::int64_t server_says_ms = 50;

constexpr double ns_per_s = 1e9;

/// CLOCK_MONOTONIC stands still while the machine is suspended; a window must not seem shorter for
/// that.
std::int64_t boottime_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

/// How long this process has been ready to run and another ran. 0 where the kernel does not tell.
std::int64_t waited_ns() {
  const Result<MeterSample> own = sample_process(::getpid(), std::nullopt);
  return own ? own->wait_ns : 0;
}

/// A moment as the length of a window is taken: what we waited for a CPU makes it longer and not
/// wrong.
struct Mark {
  std::int64_t boottime_ns = 0;
  std::int64_t waited_ns = 0;
};
Mark mark_now() {
  return {.boottime_ns = boottime_ns(), .waited_ns = waited_ns()};
}

/// Both samples fit in; a stop by hand does not.
double longest_window_s(double wanted_s) {
  return 1.5 * wanted_s + 1;
}

void sleep_ms(std::int64_t ms) {
  // EINTR ends it early: a stop may have been asked for.
  const timespec time{.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1'000'000};
  ::nanosleep(&time, nullptr);
}

double warmup_seconds(const RunSettings& settings) {
  // What a warm-up would warm is what is to be cold.
  return settings.cold ? 0 : settings.warmup_seconds;
}

/// The processes of a round, and what watches them.
class Stage {
 public:
  Stage(const RoundPlan& plan, const RoundTick& tick) : plan_(plan), tick_(tick) {}

  /// false: stopped.
  OrFault<bool> play(Round& round);

 private:
  OrFault<bool> measure(Round& round);
  OrFault<void> start();
  OrFault<bool> wait_until(std::int64_t deadline_ns);
  OrFault<Moment> moment();
  OrFault<void> check_length(const Mark& opened_at) const;
  Fault why(Fault client_fault);
  bool tick();

  const RoundPlan& plan_;
  const RoundTick& tick_;
  /// For whoever waits for a child meanwhile.
  const StopAsked stop_asked_ = [this] { return tick(); };
  bool stopped_ = false;
  std::int64_t started_ns_ = 0;
  std::optional<ServerProcess> server_;
  std::optional<ClientProcess> client_;
  std::optional<Instruments> instruments_;  ///< while the window is open
};

ServerSettings server_settings(const RoundPlan& plan) {
  const sys::FileStatus& status = plan.source->status;
  const bool device = status.type == sys::FileType::Other;
  return {.file_fd = plan.source->fd.get(),
          .device_bytes = device ? status.size : ByteCount{},
          .path = plan.path,
          .network = plan.network,
          .cpu = plan.settings->pin.server};
}

ClientSettings client_settings(const RoundPlan& plan, const sys::Address& server) {
  return {.server = server,
          .mode = plan.settings->mode,
          .file_bytes = plan.source->status.size.value,
          .connections = plan.settings->connections,
          .rate_gbit_per_s = plan.settings->rate_gbit_per_s,
          .network = plan.network,
          .cpu = plan.settings->pin.client};
}

}  // namespace

double seconds_of_round(const RunSettings& settings) {
  return warmup_seconds(settings) + settings.seconds;
}

std::optional<Round> measure_round(const RoundPlan& plan, const RoundTick& tick) {
  Round round;
  round.instrumented = plan.instruments == Instruments::Kind::Tracing;
  const OrFault<bool> complete = Stage(plan, tick).play(round);
  if (!complete) {
    round.failed = complete.error().text;
    round.figures.clear();
    return round;
  }
  if (!*complete) return std::nullopt;
  return round;
}

OrFault<std::uint64_t> verify_path(const RoundPlan& plan, const StopAsked& stop_asked) {
  OrFault<ServerProcess> server = ServerProcess::start(server_settings(plan), stop_asked);
  if (!server) return tl::unexpected(server.error());
  ClientSettings client = client_settings(plan, server->address());
  client.connections = 1;
  client.rate_gbit_per_s.reset();
  const OrFault<std::uint64_t> verified = verify_content(client, plan.source->fd.get(), stop_asked);
  if (verified) return verified;
  // The verifier only sees its connection end; the server knows why.
  sleep_ms(server_says_ms);
  return tl::unexpected(server->fault().value_or(verified.error()));
}

namespace {

OrFault<bool> Stage::play(Round& round) {
  OrFault<bool> measured = measure(round);
  if (stopped_) return false;  // whatever the one who was interrupted has said
  return measured;
}

OrFault<bool> Stage::measure(Round& round) {
  if (const OrFault<void> started = start(); !started) return tl::unexpected(started.error());
  started_ns_ = sys::monotonic_ns();
  const auto at = [this](double seconds) {
    return started_ns_ + static_cast<std::int64_t>(seconds * ns_per_s);
  };
  const double warmup_s = warmup_seconds(*plan_.settings);
  if (OrFault<bool> waited = wait_until(at(warmup_s)); !waited || !*waited) return waited;

  instruments_ = Instruments::open(server_->pid(), plan_.instruments);
  instruments_->begin();
  // Not before: opening them reads the kernel's symbols, which takes as long as it takes.
  const Mark opened_at = mark_now();
  const OrFault<Moment> opened = moment();
  if (!opened) return tl::unexpected(opened.error());
  const double passed_s = static_cast<double>(sys::monotonic_ns() - started_ns_) / ns_per_s;
  if (OrFault<bool> waited = wait_until(at(passed_s + plan_.settings->seconds));
      !waited || !*waited) {
    return waited;
  }
  instruments_->end();
  const OrFault<Moment> closed = moment();
  if (!closed) return tl::unexpected(closed.error());
  if (OrFault<void> right = check_length(opened_at); !right) {
    return tl::unexpected(right.error());
  }

  round.due_asks = closed->client.due_asks - opened->client.due_asks;
  round.late_asks = closed->client.late_asks - opened->client.late_asks;
  round.seconds = static_cast<double>(closed->client.at_ns - opened->client.at_ns) / ns_per_s;
  round.figures = figures_of({.opened = *opened,
                              .closed = *closed,
                              .counts = {.cycles = instruments_->cycles(),
                                         .llc_load_misses = instruments_->llc_load_misses(),
                                         .syscalls = instruments_->syscalls(),
                                         .copy_share_percent = instruments_->copy_share_percent()},
                              .mode = plan_.settings->mode,
                              .tsc_hz = plan_.tsc_hz});
  return true;
}

OrFault<void> Stage::start() {
  OrFault<ServerProcess> server = ServerProcess::start(server_settings(plan_), stop_asked_);
  if (!server) return tl::unexpected(server.error());
  server_ = std::move(*server);
  OrFault<ClientProcess> client =
      ClientProcess::start(client_settings(plan_, server_->address()), stop_asked_);
  if (!client) return tl::unexpected(why(client.error()));
  client_ = std::move(*client);
  return {};
}

/// false: stopped. Looks at both children, and for a stop, until the deadline.
OrFault<bool> Stage::wait_until(std::int64_t deadline_ns) {
  for (;;) {
    if (std::optional<Fault> fault = server_->fault()) return tl::unexpected(*fault);
    if (std::optional<Fault> fault = client_->fault()) return tl::unexpected(why(*fault));
    if (instruments_) instruments_->drain();
    if (tick()) return false;
    const std::int64_t now_ns = sys::monotonic_ns();
    if (now_ns >= deadline_ns) return true;
    sleep_ms(std::min(poll_ms, (deadline_ns - now_ns) / 1'000'000 + 1));
  }
}

OrFault<Moment> Stage::moment() {
  Moment moment;
  const Result<MeterSample> meter = sample_process(server_->pid(), plan_.settings->pin.server);
  // ESRCH: it has ended; it may have said why.
  if (!meter) {
    return tl::unexpected(
        server_->fault().value_or(Fault{"the server's process: " + describe(meter.error())}));
  }
  moment.meter = *meter;
  const OrFault<ServerSample> server = server_->sample(stop_asked_);
  if (!server) return tl::unexpected(server.error());
  moment.server = *server;
  const OrFault<ClientSample> client = client_->sample(stop_asked_);
  if (!client) return tl::unexpected(why(client.error()));
  moment.client = *client;
  return moment;
}

/// Stretched, it has moments in which nobody drained the samples and the network had run dry.
OrFault<void> Stage::check_length(const Mark& opened_at) const {
  const double wanted_s = plan_.settings->seconds;
  const Mark now = mark_now();
  const double took_s = static_cast<double>(now.boottime_ns - opened_at.boottime_ns) / ns_per_s;
  const double waited_s = static_cast<double>(now.waited_ns - opened_at.waited_ns) / ns_per_s;
  if (took_s - waited_s <= longest_window_s(wanted_s)) return {};
  return tl::unexpected(Fault{
      fmt::format("the window took {:.1f} s instead of {:g}: this process was stopped or starved",
                  took_s, wanted_s)});
}

/// Says how far it is; true: a stop was asked for.
bool Stage::tick() {
  const std::int64_t passed_ns = started_ns_ == 0 ? 0 : sys::monotonic_ns() - started_ns_;
  stopped_ = stopped_ || tick_(static_cast<double>(passed_ns) / ns_per_s);
  return stopped_;
}

/// The client only sees its connections end; the server, if it has a fault, knows why.
Fault Stage::why(Fault client_fault) {
  sleep_ms(server_says_ms);
  return server_->fault().value_or(std::move(client_fault));
}

}  // namespace

}  // namespace pagewire::bench
