#include "cli/status_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>

#include "cli/terminal.h"
#include "sys/clock.h"

namespace pagewire::cli {

namespace {

constexpr std::size_t default_columns = 80;

StatusSample sample_now(const metrics::Totals& totals) {
  timespec cpu{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  return {.totals = totals,
          .cpu_ns = cpu.tv_sec * 1'000'000'000 + cpu.tv_nsec,
          .monotonic_ns = sys::monotonic_ns()};
}

bool wanted(const StatusSettings& settings, bool terminal) {
  switch (settings.mode) {
    case StatusMode::Auto:
      // The access log on the same terminal would be written across it.
      return terminal && settings.log_file != "-";
    case StatusMode::On:
      return true;
    case StatusMode::Off:
      return false;
  }
  return false;
}

}  // namespace

std::string status_text(const StatusSample& before, const StatusSample& now,
                        const StatusStyle& style) {
  const auto elapsed_ns = static_cast<double>(now.monotonic_ns - before.monotonic_ns);
  if (elapsed_ns <= 0) return {};
  const auto per_second = [elapsed_ns](std::uint64_t later, std::uint64_t earlier) {
    return static_cast<double>(later - earlier) * 1e9 / elapsed_ns;
  };
  std::string text = fmt::format(
      "{} connections  {:.2f} Gbit/s  {:.0f} {}/s  CPU {:.0f}%", now.totals.connections_open,
      per_second(now.totals.bytes, before.totals.bytes) * 8 / 1e9,
      per_second(now.totals.requests, before.totals.requests), style.counted,
      static_cast<double>(now.cpu_ns - before.cpu_ns) * 100 / elapsed_ns);
  if (text.size() > style.columns) text.resize(style.columns);
  return text;
}

StatusLine::StatusLine(const StatusSettings& settings)
    : counted_(settings.counted),
      in_place_(::isatty(STDOUT_FILENO) == 1),
      enabled_(wanted(settings, in_place_)),
      last_(sample_now({})) {}

void StatusLine::update(const metrics::Totals& totals) {
  const StatusSample now = sample_now(totals);
  // The last column stays empty: some terminals wrap when it is written.
  const std::size_t columns =
      in_place_ ? terminal_columns(STDOUT_FILENO, default_columns) - 1 : default_columns;
  const std::string text = status_text(last_, now, {.counted = counted_, .columns = columns});
  if (in_place_) {
    (void)std::fprintf(stdout, "%s%s", erase_line, text.c_str());
  } else {
    (void)std::fprintf(stdout, "%s\n", text.c_str());
  }
  (void)std::fflush(stdout);
  shown_ = in_place_;
  last_ = now;
}

void StatusLine::clear() {
  if (!shown_) return;
  shown_ = false;
  (void)std::fputs(erase_line, stdout);
  (void)std::fflush(stdout);
}

}  // namespace pagewire::cli
