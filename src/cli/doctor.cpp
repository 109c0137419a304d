// `pagewire doctor`: flags -> perhaps a short sweep -> checks -> text or JSON.
#include "cli/doctor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "bench/bench.h"
#include "cli/bench_output.h"
#include "cli/bench_settings.h"
#include "cli/descriptor_limit.h"
#include "cli/doctor_options.h"
#include "cli/flags.h"
#include "cli/progress.h"
#include "cli/serve_calibration.h"
#include "cli/stop_signals.h"
#include "cli/terminal.h"

namespace pagewire::cli {

namespace {

constexpr std::string_view command = "pagewire doctor";
constexpr std::size_t default_columns = 100;

int complain(const std::string& line) {
  (void)std::fprintf(stderr, "pagewire doctor: %s\n", line.c_str());
  return doctor_cannot_run;
}

/// What went wrong, as a line; nothing: the file is written.
std::optional<std::string> calibrate(const std::string& file, double seconds) {
  if (const auto unwritable = why_not_writable("--calibrate", file)) return unwritable;
  const std::array<std::string, 8> words{"--path",  "sendfile,copy",
                                         "--sizes", "1K,4K,16K,64K,256K,1M",
                                         "-t",      fmt::format("{:.3f}", seconds),
                                         "--save",  file};
  const OrUsageError<Flags> flags = parse_flags(sweep_command(), words);
  if (!flags) return flags.error().text;
  const OrUsageError<MeasureSettings> settings = build_sweep(*flags, this_machine());
  if (!settings) return settings.error().text;
  (void)raise_descriptor_limit();
  StopSignals signals;
  Progress progress(command, signals);
  const auto report = bench::sweep({.sizes = settings->sizes, .run = settings->run}, progress);
  progress.clear();
  signals.let_next_end();
  if (!report) return report.error().text;
  if (report->partial) return "the calibration was stopped: " + report->partial_reason;
  if (!write_or_complain(file, bench::to_json(bench::calibration_of(*report)), command)) {
    return "without the calibration there is nothing to judge by";
  }
  return std::nullopt;
}

/// What serve makes of the file, for the chooser that doctor asks.
std::optional<std::string> take_calibration(const std::string& file, doctor::Settings& settings) {
  ServeSettings serve = default_settings();
  serve.server.site.root = settings.root;
  serve.calibration_file = file;
  const OrUsageError<std::vector<std::string>> warnings = load_calibration(serve);
  if (!warnings) return warnings.error().text;
  for (const std::string& warning : *warnings) {
    (void)std::fprintf(stderr, "pagewire doctor: warning: calibration %s: %s\n", file.c_str(),
                       warning.c_str());
  }
  settings.chooser = serve.server.chooser;
  settings.calibration = serve.calibration_note;
  return std::nullopt;
}

int status_of(const doctor::Examined& examined) {
  switch (examined.worst()) {
    case doctor::Status::Ok:
    case doctor::Status::Unknown:
      return doctor_well;
    case doctor::Status::Warning:
      return doctor_warnings;
    case doctor::Status::Failed:
      return doctor_failures;
  }
  return doctor_cannot_run;
}

}  // namespace

int doctor(std::span<const std::string> arguments) {
  ignore_write_signals();
  const OrUsageError<Flags> flags = parse_flags(doctor_command(), arguments);
  if (!flags) {
    (void)std::fprintf(stderr, "%s\n", flags.error().text.c_str());
    return doctor_cannot_run;
  }
  if (flags->help) return print(doctor_help_text(), command) ? doctor_well : doctor_cannot_run;
  DoctorSettings settings;
  if (const auto applied = apply(doctor_options(), flags->assignments, settings); !applied) {
    (void)std::fprintf(stderr, "%s\n", applied.error().text.c_str());
    return doctor_cannot_run;
  }
  if (!settings.calibrate.empty()) {
    if (const auto wrong = calibrate(settings.calibrate, settings.calibrate_seconds))
      return complain(*wrong);
    settings.calibration = settings.calibrate;
  }
  if (!settings.calibration.empty()) {
    if (const auto wrong = take_calibration(settings.calibration, settings.doctor)) {
      return complain(*wrong);
    }
  }
  const auto examined = doctor::examine(settings.doctor);
  if (!examined) return complain(examined.error());
  const std::string text =
      settings.json
          ? doctor::to_json(*examined)
          : doctor::to_text(*examined, {.columns = terminal_columns(STDOUT_FILENO, default_columns),
                                        .colour = wants_colour(STDOUT_FILENO),
                                        .verbose = settings.verbose});
  return print(text, command) ? status_of(*examined) : doctor_cannot_run;
}

}  // namespace pagewire::cli
