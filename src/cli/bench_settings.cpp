#include "cli/bench_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace pagewire::cli {

namespace {

bool is_given(const Flags& flags, std::string_view name) {
  return std::any_of(flags.assignments.begin(), flags.assignments.end(),
                     [name](const Assignment& given) { return given.option->name == name; });
}

void resolve_paths(bench::RunSettings& run) {
  if (run.paths.empty())
    run.paths.assign(egress::socket_paths().begin(), egress::socket_paths().end());
}

OrUsageError<void> resolve_pin(std::string_view command, const Machine& machine,
                               MeasureSettings& settings) {
  switch (settings.pin) {
    case BenchPin::Auto:
      if (machine.second_core) {
        settings.run.pin = {.server = machine.cpus.front(), .client = machine.second_core};
      }
      return {};
    case BenchPin::Off:
      return {};
    case BenchPin::Pair:
      break;
  }
  for (const std::optional<int> cpu : {settings.run.pin.server, settings.run.pin.client}) {
    if (std::find(machine.cpus.begin(), machine.cpus.end(), cpu) != machine.cpus.end()) continue;
    return tl::unexpected(UsageError{fmt::format(
        "{}: --pin names CPU {}, on which this process may not run", command, cpu.value_or(-1))});
  }
  return {};
}

/// One output at most can be standard output.
OrUsageError<void> check_outputs(std::string_view command, const Outputs& outputs) {
  const std::array<const std::string*, 5> files{&outputs.json, &outputs.csv, &outputs.html,
                                                &outputs.svg, &outputs.markdown};
  const auto on_stdout = std::count_if(files.begin(), files.end(),
                                       [](const std::string* file) { return *file == "-"; });
  if (on_stdout <= 1) return {};
  return tl::unexpected(UsageError{
      fmt::format("{}: {} reports go to standard output (-); only one can", command, on_stdout)});
}

OrUsageError<void> check_file(const Flags& flags, std::string_view command) {
  for (const std::string_view other : {"file", "size", "folder"}) {
    if (!is_given(flags, "zero") || !is_given(flags, other)) continue;
    return tl::unexpected(UsageError{fmt::format(
        "{}: --zero sends no file, --{} is for one; give one of them", command, other)});
  }
  if (!is_given(flags, "file")) return {};
  for (const std::string_view other : {"size", "folder"}) {
    if (!is_given(flags, other)) continue;
    return tl::unexpected(UsageError{
        fmt::format("{}: --file sends a file that there is, --{} is for one that is made; "
                    "give one of them",
                    command, other)});
  }
  return {};
}

/// A calibration says from which size on a path is cheaper than copy.
OrUsageError<MeasureSettings> check_save(MeasureSettings settings) {
  const bool has_copy = std::ranges::any_of(
      settings.run.paths, [](const egress::Path* path) { return path->name == "copy"; });
  if (settings.save.empty() || has_copy) return settings;
  return tl::unexpected(
      UsageError{fmt::format("{}: --save needs copy among the paths of --path: what it saves is "
                             "from which size on a path is cheaper than copy",
                             sweep_command().command)});
}

}  // namespace

OrUsageError<MeasureSettings> build_run(const Flags& flags, const Machine& machine) {
  const std::string_view command = run_command().command;
  MeasureSettings settings = default_run();
  return apply(run_options(), flags.assignments, settings)
      .and_then([&] { return check_file(flags, command); })
      .and_then([&] { return check_outputs(command, settings.outputs); })
      .and_then([&] { return resolve_pin(command, machine, settings); })
      .map([&] {
        resolve_paths(settings.run);
        return settings;
      });
}

OrUsageError<MeasureSettings> build_sweep(const Flags& flags, const Machine& machine) {
  const std::string_view command = sweep_command().command;
  MeasureSettings settings = default_sweep();
  return apply(sweep_options(), flags.assignments, settings)
      .and_then([&] { return check_outputs(command, settings.outputs); })
      .and_then([&] { return resolve_pin(command, machine, settings); })
      .map([&] {
        resolve_paths(settings.run);
        return settings;
      })
      .and_then(check_save);
}

OrUsageError<ReportSettings> build_report(const Flags& flags) {
  ReportSettings settings;
  return apply(report_options(), flags.assignments, settings)
      .and_then([&] { return check_outputs(report_command().command, settings.outputs); })
      .map([&] { return settings; });
}

OrUsageError<CompareSettings> build_compare(const Flags& flags) {
  CompareSettings settings;
  return apply(compare_options(), flags.assignments, settings).map([&] { return settings; });
}

OrUsageError<bench::SinkSettings> build_sink(const Flags& flags) {
  bench::SinkSettings settings;
  return apply(sink_options(), flags.assignments, settings).map([&] { return settings; });
}

OrUsageError<bench::SendSettings> build_send(const Flags& flags,
                                             const std::optional<std::string>& zc_path) {
  SendOptions settings = default_send();
  std::vector<Assignment> assignments;
  // An empty variable is what `ZC_PATH= pagewire ...` makes of one that is not wanted.
  if (zc_path && !zc_path->empty() && !is_given(flags, "path")) {
    assignments.push_back(
        {.option = send_command().find("path"),
         .values = {{.text = *zc_path,
                     .shown = '"' + *zc_path + '"',
                     .where = fmt::format("{}: ZC_PATH", send_command().command)}}});
  }
  assignments.insert(assignments.end(), flags.assignments.begin(), flags.assignments.end());
  if (is_given(flags, "file") == is_given(flags, "zero")) {
    return tl::unexpected(UsageError{fmt::format(
        "{}: {}; see {} --help", send_command().command,
        is_given(flags, "file") ? "--zero sends no file; give FILE or --zero, not both"
                                : "FILE is missing, the name of a file (or --zero SIZE)",
        send_command().command)});
  }
  return apply(send_options(), assignments, settings).map([&] {
    const std::string_view usual = settings.send.iperf3 ? "127.0.0.1:5201" : "127.0.0.1:9000";
    settings.send.listen = settings.listen.value_or(sys::Address::parse(usual).value());
    return settings.send;
  });
}

MeasureSettings quick_run(std::size_t paths, const Machine& machine) {
  // The rest of the minute is for making the file and for a machine that is busy.
  constexpr double budget_s = 45;
  constexpr double verify_s = 0.6;     // a path's 256 MiB, compared byte by byte
  constexpr double processes_s = 0.3;  // starting and ending the two of a round
  constexpr double shortest_s = 0.4;   // of a window that still says something

  MeasureSettings settings;
  bench::RunSettings& run = settings.run;
  const double per_path = std::max(0.0, budget_s / static_cast<double>(paths) - verify_s);
  const auto round_s = [&run, per_path] {
    const std::size_t rounds = run.repeat + (run.instrument ? 1 : 0);
    return per_path / static_cast<double>(rounds) - processes_s;
  };
  while (run.repeat > 2 && round_s() < shortest_s) --run.repeat;
  if (round_s() < shortest_s) run.instrument = false;
  if (round_s() < shortest_s) run.repeat = 1;
  // The share that warms up is never in the window. Tenths of a second read better.
  run.seconds = std::clamp(std::floor(round_s() * 8) / 10, 0.1, 3.0);
  run.warmup_seconds = std::clamp(std::floor(round_s() * 2) / 10, 0.1, 0.5);
  resolve_paths(run);
  (void)resolve_pin("", machine, settings);  // Auto: nothing that could be wrong
  return settings;
}

}  // namespace pagewire::cli
