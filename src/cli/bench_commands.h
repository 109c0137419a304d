// The commands of `pagewire bench`, one function each; for bench.cpp. `arguments` are those after
// the command's name; what is returned is the exit status.
#pragma once

#include <cstdio>
#include <span>
#include <string>

#include "cli/assignment.h"
#include "cli/bench_settings.h"
#include "cli/flags.h"

namespace pagewire::cli {

inline constexpr int bench_done = 0;
inline constexpr int bench_failed = 1;
inline constexpr int bench_usage = 2;
inline constexpr int bench_worse = 99;

int bench_quick();
int bench_run(std::span<const std::string> arguments);
int bench_sweep(std::span<const std::string> arguments);
int bench_send(std::span<const std::string> arguments);
int bench_sink(std::span<const std::string> arguments);
int bench_compare(std::span<const std::string> arguments);
int bench_report(std::span<const std::string> arguments);

/// One line on standard error; returns `status`.
int bench_complain(const std::string& line, int status);

/// What every command begins with: its flags, its help, its settings; then `go(settings)`.
/// `build` makes the settings of the flags.
template <class Build, class Go>
int with_settings(const CommandTable& table, std::span<const std::string> arguments,
                  std::string (*help)(), Build build, Go go) {
  const OrUsageError<Flags> flags = parse_flags(table, arguments);
  if (!flags) return bench_complain(flags.error().text, bench_usage);
  if (flags->help) {
    (void)std::fputs(help().c_str(), stdout);
    return bench_done;
  }
  const auto settings = build(*flags);
  if (!settings) return bench_complain(settings.error().text, bench_usage);
  return go(*settings);
}

}  // namespace pagewire::cli
