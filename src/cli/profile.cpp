// `pagewire profile`: flags -> samples -> text or JSON, and files.
#include "cli/profile.h"

#include <fmt/format.h>
#include <unistd.h>

#include "cli/bench_output.h"
#include "cli/descriptor_limit.h"
#include "cli/flags.h"
#include "cli/profile_options.h"
#include "cli/stop_signals.h"
#include "cli/terminal.h"
#include "profile/profile.h"

namespace pagewire::cli {

namespace {

constexpr std::string_view command = "pagewire profile";
constexpr std::size_t default_columns = 100;
constexpr int failed = 1;
constexpr int wrong_flags = 2;

int complain(const std::string& line, int status) {
  (void)std::fprintf(stderr, "%s\n", line.c_str());
  return status;
}

/// "-" is standard output.
bool write_to(const std::string& file, const std::string& text) {
  if (file.empty()) return true;
  return file == "-" ? print(text, command) : write_or_complain(file, text, command);
}

int deliver(const profile::Report& report, const ProfileSettings& settings) {
  bool done = write_to(settings.folded, profile::to_folded(report));
  done &= write_to(settings.svg, profile::to_svg(report));
  const bool taken = settings.folded == "-" || settings.svg == "-";
  if (settings.json) {
    done &= print(profile::to_json(report), command);
  } else {
    const int fd = taken ? STDERR_FILENO : STDOUT_FILENO;
    const std::string text = profile::to_text(
        report, {.columns = terminal_columns(fd, default_columns), .colour = wants_colour(fd)});
    if (taken) {
      (void)std::fputs(text.c_str(), stderr);
    } else {
      done &= print(text, command);
    }
  }
  return done ? 0 : failed;
}

}  // namespace

int profile(std::span<const std::string> arguments) {
  const OrUsageError<Flags> flags = parse_flags(profile_command(), arguments);
  if (!flags) return complain(flags.error().text, wrong_flags);
  if (flags->help) return print(profile_help_text(), command) ? 0 : failed;
  ProfileSettings settings;
  if (const auto applied = apply(profile_options(), flags->assignments, settings); !applied) {
    return complain(applied.error().text, wrong_flags);
  }
  // A typing error in a file's name must not cost the time of a run.
  std::optional<std::string> why = why_not_writable("--folded", settings.folded);
  if (!why) why = why_not_writable("--svg", settings.svg);
  if (why) return complain(fmt::format("{}: {}", command, *why), failed);
  ignore_write_signals();
  (void)raise_descriptor_limit();  // an event for each thread on each CPU
  StopSignals signals;
  const auto report = profile::profile({.target = settings.target,
                                        .seconds = settings.seconds,
                                        .stop_asked = [&signals] { return signals.asked(); }});
  signals.let_next_end();
  if (!report) return complain(fmt::format("{}: {}", command, report.error()), failed);
  return deliver(*report, settings);
}

}  // namespace pagewire::cli
