// `pagewire bench`, `bench run` and `bench sweep`: settings -> rounds -> report -> files.
//
// Invariant: this process has one thread, because the rounds fork. The first Ctrl-C ends the
// rounds and keeps what they found; another one ends the process, and the kernel its children
// (PR_SET_PDEATHSIG).
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <utility>
#include <vector>

#include "bench/bench.h"
#include "cli/bench_commands.h"
#include "cli/bench_help.h"
#include "cli/bench_output.h"
#include "cli/descriptor_limit.h"
#include "cli/progress.h"

namespace pagewire::cli {

namespace {

using OrCannotRun = tl::expected<bench::Report, bench::CannotRun>;

/// A command as it was given: for error lines, and for the report.
struct Invocation {
  std::string_view command;
  std::span<const std::string> arguments;
};

std::vector<std::string> command_line(const Invocation& invocation) {
  std::vector<std::string> words;
  std::string_view rest = invocation.command;
  while (!rest.empty()) {
    const std::size_t space = std::min(rest.find(' '), rest.size());
    words.emplace_back(rest.substr(0, space));
    rest.remove_prefix(std::min(space + 1, rest.size()));
  }
  words.insert(words.end(), invocation.arguments.begin(), invocation.arguments.end());
  return words;
}

bool save_calibration(const bench::Report& report, const MeasureSettings& settings,
                      const Invocation& invocation) {
  if (settings.save.empty()) return true;
  if (report.partial) {
    (void)bench_complain(fmt::format("{}: {} is not written: the sweep is partial",
                                     invocation.command, settings.save),
                         bench_failed);
    return false;
  }
  return write_or_complain(settings.save, bench::to_json(bench::calibration_of(report)),
                           invocation.command);
}

/// Whether there is anything to keep.
bool has_figures(const bench::Report& report) {
  for (const bench::Row& row : report.rows) {
    for (const bench::Contender& contender : row.contenders) {
      for (const bench::Round& round : contender.rounds) {
        if (round.failed.empty()) return true;
      }
    }
  }
  return false;
}

bool has_failed_round(const bench::Report& report) {
  for (const bench::Row& row : report.rows) {
    for (const bench::Contender& contender : row.contenders) {
      for (const bench::Round& round : contender.rounds) {
        if (!round.failed.empty()) return true;
      }
    }
  }
  return false;
}

/// `measure` is bench::run or bench::sweep with its settings.
template <class Measure>
int measured(const Invocation& invocation, const MeasureSettings& settings, Measure measure) {
  std::optional<std::string> unwritable = why_not_writable(settings.outputs);
  if (!unwritable) unwritable = why_not_writable("--save", settings.save);
  if (unwritable) {
    return bench_complain(fmt::format("{}: {}", invocation.command, *unwritable), bench_failed);
  }
  (void)raise_descriptor_limit();  // server and client of a round have one for each connection
  StopSignals signals;
  Progress progress(invocation.command, signals);
  OrCannotRun report = measure(progress);
  progress.clear();
  // A signal that came too late to stop anything is taken here; the next one must not wait for a
  // standard output that nobody reads.
  (void)signals.asked();
  signals.let_next_end();
  if (!report) {
    return bench_complain(fmt::format("{}: {}", invocation.command, report.error().text),
                          signals.exit_status().value_or(bench_failed));
  }
  if (report->partial && !has_figures(*report)) {
    // An older report under that name is worth more than one without a figure.
    return bench_complain(fmt::format("{}: {}; nothing was measured, no report is written",
                                      invocation.command, report->partial_reason),
                          signals.exit_status().value_or(bench_failed));
  }
  report->environment.command_line = command_line(invocation);
  report->environment.pagewire_version = PAGEWIRE_VERSION;
  const bool delivered = deliver(*report, settings.outputs, invocation.command);
  const bool saved = save_calibration(*report, settings, invocation);
  if (report->partial) return signals.exit_status().value_or(bench_failed);
  return delivered && saved && !has_failed_round(*report) ? bench_done : bench_failed;
}

int run_with(const Invocation& invocation, const MeasureSettings& settings) {
  return measured(invocation, settings,
                  [&settings](bench::Watch& watch) { return bench::run(settings.run, watch); });
}

}  // namespace

int bench_quick() {
  const MeasureSettings settings = quick_run(egress::socket_paths().size(), this_machine());
  const bench::RunSettings& run = settings.run;
  const std::size_t rounds = run.paths.size() * (run.repeat + (run.instrument ? 1 : 0));
  const double about_s = static_cast<double>(rounds) * (run.seconds + run.warmup_seconds + 0.3);
  (void)bench_complain(
      fmt::format("pagewire bench: {} paths in {} rounds, about {:.0f} s; for other sizes, loads "
                  "and reports see pagewire bench --help",
                  run.paths.size(), rounds, std::ceil(about_s)),
      bench_done);
  return run_with({.command = "pagewire bench", .arguments = {}}, settings);
}

int bench_run(std::span<const std::string> arguments) {
  const Invocation invocation{.command = run_command().command, .arguments = arguments};
  return with_settings(
      run_command(), arguments, run_help_text,
      [](const Flags& flags) { return build_run(flags, this_machine()); },
      [&](const MeasureSettings& settings) { return run_with(invocation, settings); });
}

int bench_sweep(std::span<const std::string> arguments) {
  const Invocation invocation{.command = sweep_command().command, .arguments = arguments};
  return with_settings(
      sweep_command(), arguments, sweep_help_text,
      [](const Flags& flags) { return build_sweep(flags, this_machine()); },
      [&](const MeasureSettings& settings) {
        const bench::SweepSettings sweep{
            .sizes = settings.sizes.empty() ? bench::default_sweep_sizes() : settings.sizes,
            .run = settings.run};
        return measured(invocation, settings,
                        [&sweep](bench::Watch& watch) { return bench::sweep(sweep, watch); });
      });
}

}  // namespace pagewire::cli
