// `bench compare` and `bench report`: what was stored, looked at again.
#include <fmt/format.h>
#include <unistd.h>

#include "bench/bench.h"
#include "cli/bench_commands.h"
#include "cli/bench_help.h"
#include "cli/bench_output.h"
#include "cli/stop_signals.h"
#include "cli/terminal.h"
#include "cli/text_file.h"

namespace pagewire::cli {

namespace {

constexpr std::size_t default_columns = 100;

/// The error is one line that begins with the file's name.
tl::expected<bench::Report, std::string> read_report(const std::string& file) {
  const Result<std::string> text = read_whole(file);
  if (!text) return tl::unexpected(fmt::format("{}: {}", file, describe(text.error())));
  return bench::from_json(*text).map_error(
      [&file](const std::string& error) { return fmt::format("{}: {}", file, error); });
}

int compare(const CompareSettings& settings) {
  const std::string_view command = compare_command().command;
  const auto wrong = [command](const std::string& line) {
    return bench_complain(fmt::format("{}: {}", command, line), bench_usage);
  };
  const auto before = read_report(settings.before);
  if (!before) return wrong(before.error());
  const auto after = read_report(settings.after);
  if (!after) return wrong(after.error());
  const auto comparison = bench::compare(*before, *after, settings.threshold);
  if (!comparison) return wrong(comparison.error());
  const std::string table =
      bench::to_table(*comparison, terminal_columns(STDOUT_FILENO, default_columns));
  if (!print(table, command)) return bench_failed;
  return comparison->worse ? bench_worse : bench_done;
}

int report(const ReportSettings& settings) {
  const std::string_view command = report_command().command;
  if (const auto unwritable = why_not_writable(settings.outputs)) {
    return bench_complain(fmt::format("{}: {}", command, *unwritable), bench_failed);
  }
  const auto stored = read_report(settings.input);
  if (!stored) return bench_complain(fmt::format("{}: {}", command, stored.error()), bench_usage);
  return deliver(*stored, settings.outputs, command) ? bench_done : bench_failed;
}

}  // namespace

int bench_compare(std::span<const std::string> arguments) {
  ignore_write_signals();
  return with_settings(compare_command(), arguments, compare_help_text, build_compare, compare);
}

int bench_report(std::span<const std::string> arguments) {
  ignore_write_signals();
  return with_settings(report_command(), arguments, report_help_text, build_report, report);
}

}  // namespace pagewire::cli
