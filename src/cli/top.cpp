#include "cli/top.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "cli/bench_output.h"
#include "cli/flags.h"
#include "cli/stop_signals.h"
#include "cli/terminal.h"
#include "cli/top_options.h"
#include "top/top.h"

namespace pagewire::cli {

namespace {

constexpr std::size_t default_columns = 100;

int complain(const std::string& line, int status) {
  (void)std::fprintf(stderr, "%s\n", line.c_str());
  return status;
}

int failed(const std::string& why) {
  return complain(fmt::format("{}: {}", top_command().command, why), 1);
}

int look_once(const TopSettings& settings) {
  ignore_write_signals();
  std::string text;
  const std::size_t columns = terminal_columns(STDOUT_FILENO, default_columns);
  const top::Format format = settings.json ? top::Format::Json : top::Format::Text;
  if (const auto done = top::once(settings.top, format, columns, text); !done) {
    return failed(done.error());
  }
  return print(text, top_command().command) ? 0 : 1;
}

}  // namespace

int top(std::span<const std::string> arguments) {
  const OrUsageError<Flags> flags = parse_flags(top_command(), arguments);
  if (!flags) return complain(flags.error().text, 2);
  if (flags->help) {
    (void)std::fputs(top_help_text().c_str(), stdout);
    return 0;
  }
  OrUsageError<TopSettings> settings = build_top(*flags);
  if (!settings) return complain(settings.error().text, 2);
  if (const auto found = top::look_up(settings->top.target); !found) return failed(found.error());
  if (settings->once) return look_once(*settings);
  if (const auto done = top::watch(settings->top); !done) return failed(done.error());
  return 0;
}

}  // namespace pagewire::cli
