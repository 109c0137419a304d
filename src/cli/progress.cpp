#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "cli/terminal.h"
#include "sys/clock.h"

namespace pagewire::cli {

namespace {

constexpr std::size_t default_columns = 80;
constexpr std::size_t widest_bar = 30;
constexpr std::size_t narrowest_bar = 6;
constexpr std::int64_t redraw_ns = 100'000'000;

/// "12 s left"; "" where nobody knows.
std::string time_left(const ProgressState& state) {
  constexpr double minutes_from_s = 100;
  if (state.total_s <= 0) return {};
  const double left_s = std::max(0.0, state.total_s - state.done_s) * state.pace;
  if (left_s > minutes_from_s) return fmt::format("{:.0f} min left", std::ceil(left_s / 60));
  return fmt::format("{:.0f} s left", std::ceil(left_s));
}

}  // namespace

std::string progress_text(const ProgressState& state, std::size_t columns) {
  const double share = state.total_s > 0 ? std::clamp(state.done_s / state.total_s, 0.0, 1.0) : 0;
  const std::string left = time_left(state);
  const std::string tail =
      fmt::format("  {:3.0f}%{}{}", std::floor(share * 100), left.empty() ? "" : "  ", left);
  std::string text(state.what);
  const std::size_t others = text.size() + 4 + tail.size();
  if (columns >= others + narrowest_bar) {
    const std::size_t width = std::min(widest_bar, columns - others);
    const auto full = static_cast<std::size_t>(share * static_cast<double>(width));
    text += "  [" + std::string(full, '#') + std::string(width - full, '.') + "]";
  }
  text += tail;
  if (text.size() > columns) text.resize(columns);
  return text;
}

Progress::Progress(std::string_view command, StopSignals& signals)
    : command_(command), signals_(signals), in_place_(can_redraw(STDERR_FILENO)) {}

void Progress::progress(double done, double total, std::string_view what) {
  const std::int64_t now_ns = sys::monotonic_ns();
  if (!in_place_ || stopping_ || (shown_ && now_ns - drawn_ns_ < redraw_ns)) return;
  const ProgressState state{
      .done_s = done, .total_s = total, .pace = pace(done, now_ns), .what = what};
  // The last column stays empty: some terminals wrap when it is written.
  const std::size_t columns = terminal_columns(STDERR_FILENO, default_columns) - 1;
  (void)std::fprintf(stderr, "%s%s", erase_line, progress_text(state, columns).c_str());
  (void)std::fflush(stderr);
  shown_ = true;
  drawn_ns_ = now_ns;
}

/// The plan's own, until enough was done to know better.
double Progress::pace(double done_s, std::int64_t now_ns) {
  constexpr double enough_s = 3;
  if (first_ns_ == 0 && done_s > 0) {
    first_ns_ = now_ns;
    first_done_s_ = done_s;
  }
  const double planned_s = done_s - first_done_s_;
  if (planned_s < enough_s) return 1;
  return static_cast<double>(now_ns - first_ns_) / 1e9 / planned_s;
}

void Progress::note(const std::string& line) {
  clear();
  (void)std::fprintf(stderr, "%s: %s\n", command_.c_str(), line.c_str());
}

bool Progress::stop_asked() {
  if (!signals_.asked()) return false;
  if (!stopping_) note("stopping; what was measured follows (again to end at once)");
  stopping_ = true;
  return true;
}

void Progress::clear() {
  if (!shown_) return;
  shown_ = false;
  (void)std::fputs(erase_line, stderr);
  (void)std::fflush(stderr);
}

}  // namespace pagewire::cli
